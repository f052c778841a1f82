"""Runs a lowered workflow by Argo's rules, as far as the pipelines here use them.

Tags are replaced in the JSON text of a template, values JSON-escaped; `withParam` makes one task of each
item; a task runs when all that it depends on succeeded; a failure lets what runs end and starts nothing new;
retries go by the limit and the expression; `onExit` runs in the end, with the status. Pods are processes.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.argo.pod import OUTPUTS

TAG = re.compile(r"{{([^=].*?)}}")
EXPRESSION = re.compile(r"{{=(.*?)}}")
TOKEN = re.compile(r"\s*('[^']*'|[\w.]+|==|&&|\|\||.)")


def evaluate(expression: str, values: dict):  # noqa: C901 - a grammar in one place
    """The subset of expr-lang that the manifests use: ?:, or, ==, contains, not in, and lists of texts."""
    tokens = TOKEN.findall(expression)

    def choice():
        condition = comparison()
        while tokens[:1] == ["or"]:
            tokens.pop(0)
            condition = comparison() or condition
        if tokens[:1] != ["?"]:
            return condition
        tokens.pop(0)
        yes = choice()
        assert tokens.pop(0) == ":"
        no = choice()
        return yes if condition else no

    def comparison():
        left = operand()
        match tokens[:1]:
            case ["=="]:
                tokens.pop(0)
                return left == operand()
            case ["contains"]:
                tokens.pop(0)
                return operand() in left
            case ["not"]:
                assert [tokens.pop(0), tokens.pop(0)] == ["not", "in"]
                return left not in operand()
        return left

    def operand():
        token = tokens.pop(0)
        if token == "(":
            value = choice()
            assert tokens.pop(0) == ")"
            return value
        if token == "[":
            found = []
            while (token := tokens.pop(0)) != "]":
                if token != ",":
                    found.append(token.strip("'"))
            return found
        return token[1:-1] if token.startswith("'") else values[token]

    value = choice()
    assert not tokens, tokens
    return value


def substitute(template, values: dict[str, str]):
    """Replace the tags whose values are known, as the controller does: in the JSON text."""

    def replaced(found: re.Match) -> str:
        return json.dumps(values[found[1]])[1:-1] if found[1] in values else found[0]

    return json.loads(TAG.sub(replaced, json.dumps(template)))


@dataclass
class Pod:
    """One try of one pod."""

    template: str
    memory: str
    """Its limit."""
    asked_memory: str
    labels: dict[str, str]


def as_process(words: list[str], folder: Path) -> int:
    """Run a pod's program in a process of its own; returns its exit code."""
    words = [sys.executable, *words[1:]] if words[0] == "python" else words
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode


@dataclass
class Workflow:
    """One run of a workflow; `message_of` says what Argo would say of a failed pod."""

    objects: list[dict]
    folder: Path
    message_of: Callable[[int], str] = lambda code: f"Error (exit code {code})"
    program: Callable[[list[str], Path], int] = as_process
    pods: list[Pod] = field(default_factory=list)

    def run(self, **parameters: str) -> str:
        """Run it to its end; returns Argo's status."""
        (template,) = [o for o in self.objects if o["kind"] == "WorkflowTemplate"]
        self.spec = template["spec"]
        self.templates = {t["name"]: t for t in self.spec["templates"]}
        self.globals = {"workflow.name": "run-1"}
        declared = self.spec["arguments"]["parameters"] if self.spec["arguments"] else []
        assert parameters.keys() <= {p["name"] for p in declared}
        for parameter in declared:
            value = parameters.get(parameter["name"], parameter.get("value"))
            assert value is not None, f"{parameter['name']} must be given"
            self.globals[f"workflow.parameters.{parameter['name']}"] = value
        succeeded, _ = self.execute(self.spec["entrypoint"], {})
        status = "Succeeded" if succeeded else "Failed"
        if "onExit" in self.spec:
            self.globals["workflow.status"] = status
            exited, _ = self.execute(self.spec["onExit"], {})
            status = status if exited else "Failed"
        return status

    def execute(self, name: str, arguments: dict[str, str]) -> tuple[bool, dict[str, str]]:
        template = self.templates[name]
        declared = {p["name"] for p in template.get("inputs", {}).get("parameters", ())}
        assert declared == arguments.keys()
        values = self.globals | {f"inputs.parameters.{key}": value for key, value in arguments.items()}
        if "dag" in template:
            return self.execute_dag(substitute(template["dag"], values)["tasks"]), {}
        return self.execute_pod(substitute(template, values), values)

    def execute_dag(self, tasks: list[dict]) -> bool:
        done: dict[str, bool] = {}
        outputs: dict[str, str] = {}
        waiting = {task["name"]: task for task in tasks}
        while waiting:
            task = next(t for t in waiting.values() if self.before(t) <= done.keys())
            del waiting[task["name"]]
            if not all(done.values()):  # failFast, and what depends on a failed task
                done[task["name"]] = False
                continue
            succeeded, given = self.execute_task(substitute(task, outputs))
            done[task["name"]] = succeeded
            outputs |= {f"tasks.{task['name']}.outputs.parameters.{key}": v for key, v in given.items()}
        return all(done.values())

    @staticmethod
    def before(task: dict) -> set[str]:
        return set(task["depends"].split(" && ")) if "depends" in task else set()

    def execute_task(self, task: dict) -> tuple[bool, dict[str, str]]:
        def once(given: dict) -> tuple[bool, dict[str, str]]:
            arguments = {p["name"]: p["value"] for p in given.get("arguments", {}).get("parameters", ())}
            assert not any("{{" in v and TAG.fullmatch(v) for v in arguments.values()), arguments
            return self.execute(given["template"], arguments)

        if "withParam" not in task:
            return once(task)
        items = json.loads(task.pop("withParam"))
        texts = [item if isinstance(item, str) else json.dumps(item, sort_keys=True) for item in items]
        ended = [once(substitute(task, {"item": text}))[0] for text in texts]  # all run, whichever fails
        return all(ended), {}

    def execute_pod(self, template: dict, known: dict[str, str]) -> tuple[bool, dict[str, str]]:
        retry = template.get("retryStrategy", {"limit": "0"})
        last = {"lastRetry.message": "", "lastRetry.exitCode": "0"}
        for number in range(int(retry["limit"]) + 1):
            folder = self.folder / f"pod-{len(self.pods)}"
            outputs = folder / "outputs"
            outputs.mkdir(parents=True)
            patch = template.get("podSpecPatch", "{}")
            values = known | last | {"retries": str(number)}
            patch = json.loads(EXPRESSION.sub(lambda found, v=values: evaluate(found[1], v), patch))
            main = next((c for c in patch.get("containers", ()) if c["name"] == "main"), {})
            resources = main.get("resources", template["container"]["resources"])
            labels = template["metadata"]["labels"]
            self.pods.append(
                Pod(template["name"], resources["limits"]["memory"], resources["requests"]["memory"], labels)
            )
            words = [word.replace(OUTPUTS, str(outputs)) for word in template["container"]["command"]]
            code = self.program(words, folder)
            if code == 0:
                declared = template.get("outputs", {}).get("parameters", ())
                return True, {p["name"]: (outputs / p["name"]).read_text() for p in declared}
            last = {"lastRetry.message": self.message_of(code), "lastRetry.exitCode": str(code)}
            if not evaluate(retry.get("expression", "'1'"), last):
                break
        return False, {}
