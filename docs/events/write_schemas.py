"""Write one JSON Schema per event type beside this file: ``make schemas``."""

import json
from pathlib import Path

from spoton import events


def written(schema: dict[str, object]) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    for name, schema in events.json_schemas().items():
        Path(__file__).with_name(f"{name}.json").write_text(written(schema))
