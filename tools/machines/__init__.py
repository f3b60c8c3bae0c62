"""Local test hosts: systemd-nspawn machines that are reached by SSH like any remote host.

Standard library only, so that it runs before the virtual environment exists. Needs root.
"""
