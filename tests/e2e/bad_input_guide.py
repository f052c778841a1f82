"""Writes docs/bad-input.md: `make bad-input`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.e2e.bad_input_cases import HANDLED, READ, REFUSED, Case
from tests.e2e.bad_input_run import Answer, answer_to

GUIDE = Path(__file__).parents[2] / "docs/bad-input.md"
TITLES = {
    "files": "Files",
    "bombs": "Files that would fill the memory",
    "source and output": "Source and output",
    "pictures": "Pictures that cannot be aligned",
    "changes": "Changes during a run",
    "keys": "Keys of the configuration",
}
HEAD = """\
# Bad input: what fibstack says, and what it accepts

Input is checked before anything is spent on it: `plan` lists the source and reads the header of every slice,
and no decoder sees a file whose header is refused. A mistake gets one sentence, which names what is wrong,
where, and what to do, and an exit code. Nothing is published, and what an earlier run has written stays.
Where `plan` or `compose` says it, the sentence stays in `process/refused.json` of the output until a run
there is not refused: `fibstack status OUTPUT` prints it, and the report has it on its page.

| exit code | what is wrong | what to do |
|---|---|---|
| 0 | nothing: the volume is complete and verified | |
| 65 | the input: a file, a folder, a permission | mend what the sentence names, give the same command again |
| 75 | storage or the machine: a full disk, no answer | steps try again by themselves; then as above |
| 78 | the configuration | change the key that the sentence names |

`make bad-input` writes this page, and the tests make every one of these mistakes: the sentences are those
of the program. `/em/stack` is the source, with the slices 1 to 5, and `/em/volume` the output.
"""


def row(case: Case, answer: Answer) -> str:
    return _line(case.what, answer.exit_code, *answer.errors)


def accepted_row(case: Case) -> str:
    return _line(case.what, case.policy)


def _line(*cells: object) -> str:
    return " ".join(["|", *(f"{str(cell).replace('|', '&#124;')} |" for cell in cells)])


def written(answers: Iterable[tuple[Case, Answer]]) -> str:
    parts = [HEAD]
    for group, rows in groupby(answers, lambda item: item[0].group):
        parts.append(f"\n## {TITLES[group]}\n\n| mistake | exit code | `error:` |\n|---|---|---|\n")
        parts += [row(case, answer) + "\n" for case, answer in rows]
    parts.append("\n## Accepted\n\n| input | what is done |\n|---|---|\n")
    parts += [accepted_row(case) + "\n" for case in (*READ, *HANDLED)]
    return "".join(parts)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        answers = [(case, answer_to(case, Path(folder, str(i)))) for i, case in enumerate(REFUSED)]
    GUIDE.write_text(written(answers))


if __name__ == "__main__":
    main()
