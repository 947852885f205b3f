"""Write docs/reference/clients.md from the requests of real programs in tests/clients.

`python -m tools.clients` writes the page. A test compares it with the files.
"""

import re

from tests.clients.replay import Call, Program, programs
from tests.system.server import API, ROOT

PAGE = ROOT / "docs/reference/clients.md"
MARK = "<!-- python -m tools.clients writes the rest. -->\n"
# Parts of responses that say more than the status.
SAID = ("result_code", "success", "code", "message")


def row(call: Call) -> str:
    """Return the row of a call."""
    request = re.sub(r"\$(\w+)", r"{\1}", call.request.replace("$api", API))
    said = [f"`{name}` {call.equals[name]}" for name in SAID if name in call.equals]
    response = ". ".join(filter(None, (", ".join([str(call.status), *said]), call.note)))
    return f"| {call.name} | `{request}` | {response.removesuffix('.')} |\n"


def section(program: Program) -> str:
    """Return the table of a program."""
    files = ",\n".join(f"`{file}`" for file in program.files)
    rows = "".join(map(row, program.calls))
    return (
        f"\n## {program.name}\n\n[Source]({program.source}):\n{files}\n\n"
        f"| call | request | response |\n| --- | --- | --- |\n{rows}"
    )


def page() -> str:
    """Return the page with its introduction, and a table for each program."""
    introduction, mark, _ = PAGE.read_text().partition(MARK)
    return introduction + mark + "".join(map(section, programs()))


if __name__ == "__main__":
    PAGE.write_text(page())
