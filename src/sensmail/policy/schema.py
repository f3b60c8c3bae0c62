"""The JSON Schema of the policy file, for completion in editors (`docs/policy.schema.json`)."""

from __future__ import annotations

import json
from typing import Any

from sensmail.policy.model import PolicyFile


def schema() -> dict[str, Any]:
    """Return the schema as plain data."""
    made = PolicyFile.model_json_schema(mode="validation")
    title = "Privacy policy of sensmail.cloud (group_vars/all/policy.yml)"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": title}


def schema_text() -> str:
    """Return the schema as the file that is committed: sorted and indented, so that changes can be read."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
