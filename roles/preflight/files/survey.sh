# Tells what must be known of a host before anything runs on it. POSIX shell, no Python, changes nothing.
say() { echo "preflight.$1=$2"; }
has() { if [ -e "$1" ]; then echo yes; else echo no; fi; }
ID= VERSION_ID= VERSION_CODENAME= PRETTY_NAME=
if [ -r /etc/os-release ]; then . /etc/os-release; fi
say id "$ID"
say version "$VERSION_ID"
say codename "$VERSION_CODENAME"
say name "${PRETTY_NAME:-$(uname -s)}"
say machine "$(uname -m)"
say systemd "$(has /run/systemd/system)"
if command -v systemd-detect-virt >/dev/null 2>&1 && systemd-detect-virt --quiet --container
then say container yes; else say container no; fi
say memory_kb "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo 2>/dev/null)"
for place in / /var; do say "free_kb:$place" "$(df -Pk "$place" 2>/dev/null | awk 'END { print $4 }')"; done
say addresses "$(hostname -I 2>/dev/null)"
if [ -x /usr/bin/python3 ] && [ -d /usr/lib/python3/dist-packages/apt ]; then say python yes; else say python no; fi
say engine "$(has /opt/sensmail/current/bin/python)"
dpkg-query -W -f 'package.${db:Status-Abbrev} ${Package}=${Version}\n' 2>/dev/null
say epoch "$(date +%s)"
