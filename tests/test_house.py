"""How the house is built: who may import whom, what each command loads, and that names agree everywhere."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli import main
from pipeline.config import SECTIONS
from pipeline.receipt import PERSONAL, STAGES

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "pipeline").rglob("*.py"))

FLOORS = {"ground": 0, "device": 1, "corpora": 2, "network": 2, "pages": 3, "stages": 4, "cli": 5}
GROUND = {"pipeline", "pipeline.errors", "pipeline.config", "pipeline.receipt"}
HEAVY = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "librosa"}
DEVICE_SET = {"numpy", "ai-edge-litert", "click", "flatbuffers", "soundfile", "soxr"}


# --- imports ---


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def wing(module: str) -> str:
    """Part of the house that a module lies in."""
    if module in GROUND:
        return "ground"
    part = module.split(".")[1]
    return "cli" if part == "__main__" else part


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Names of the modules that a file imports, everywhere in it, or as soon as it is loaded itself."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            # `from pipeline.corpora import shards` takes a module, `from pipeline.errors import AudioError` a name.
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in below)
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        is_late = is_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not (top_level and is_late):
            waiting.extend(ast.iter_child_nodes(node))


def from_outside(path: Path, *, top_level: bool = False) -> set[str]:
    """Packages a file imports that are neither Python's own nor this project's."""
    packages = {name.partition(".")[0] for name in imports(path, top_level=top_level)}
    return packages - sys.stdlib_module_names - {"pipeline"}


def test_every_file_has_its_place() -> None:
    assert {wing(module) for module in MODULES} == FLOORS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_from_its_wing_and_from_those_below(module: str) -> None:
    here = wing(module)
    for imported in imports(MODULES[module]):
        if imported.partition(".")[0] == "pipeline":
            assert imported in MODULES
            there = wing(imported)
            assert there == here or FLOORS[there] < FLOORS[here], f"{module} ({here}) imports {imported} ({there})"


@pytest.mark.parametrize("module", [module for module in MODULES if wing(module) == "stages"])
def test_no_stage_imports_another(module: str) -> None:
    assert [name for name in imports(MODULES[module]) if name.startswith("pipeline.stages")] == []


LIGHT = [module for module in MODULES if wing(module) in ("ground", "device", "cli")]


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_device_loads_is_in_the_device_set(module: str) -> None:
    packages = {package.replace("_", "-") for package in from_outside(MODULES[module], top_level=True)}
    assert packages <= DEVICE_SET


@pytest.mark.parametrize("module", [module for module in MODULES if wing(module) == "device"])
def test_the_device_wing_needs_little_else_and_that_late(module: str) -> None:
    late = {
        "pipeline.device.mfcc": {"librosa"},
        "pipeline.device.microphone": {"sounddevice"},
        "pipeline.device.screen": {"rich"},
    }
    packages = {package.replace("_", "-") for package in from_outside(MODULES[module])}
    assert packages - DEVICE_SET <= late.get(module, set())


@pytest.mark.parametrize(("script", "wings"), [("listen", set()), ("record", {"corpora"})])
def test_a_script_with_a_microphone_needs_the_device_set_and_its_extra(script: str, wings: set[str]) -> None:
    path = ROOT / "scripts" / f"{script}.py"
    assert from_outside(path) <= DEVICE_SET | EXTRAS["microphone"].keys()
    assert {wing(name) for name in imports(path) if name in MODULES} <= {"ground", "device", "cli"} | wings


@pytest.mark.parametrize("module", [module for module in MODULES if wing(module) not in ("network", "stages")])
def test_tensorflow_lives_in_network_and_stages(module: str) -> None:
    assert from_outside(MODULES[module]) & (HEAVY - {"librosa"}) == set()


LOADS = {
    "help": "runpy.run_module('pipeline', run_name='__main__')",
    "help of a stage": "sys.argv.insert(1, 'train'); runpy.run_module('pipeline', run_name='__main__')",
    "help of the microphone demo": "runpy.run_path('scripts/listen.py', run_name='__main__')",
    "help of the recorder": "runpy.run_path('scripts/record.py', run_name='__main__')",
    "import": "import pipeline.device.microphone",
}


@pytest.mark.parametrize("what", LOADS)
def test_neither_tensorflow_nor_librosa_is_loaded_for(what: str) -> None:
    program = f"""
import contextlib, runpy, sys
sys.argv = ["pipeline", "--help"]
with contextlib.suppress(SystemExit):
    {LOADS[what]}
print("loaded:", *sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    shown, _, loaded = result.stdout.rpartition("loaded:")
    assert ("Usage:" in shown) == what.startswith("help")
    assert "pipeline.errors" in loaded.split()
    # Not what else comes with the extra `train` either, if by way of `corpora`.
    assert set(loaded.split()) & (HEAVY | {"joblib", "scipy", "sklearn", "requests", "rich"}) == set()


# --- commands, stages, make targets ---

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
MAKE_STAGES = re.findall(r"^STAGES\s*:=(.*)$", MAKEFILE, re.MULTILINE)[0].split()
# $(call made,tune): pipeline/stages/tune.py $(call made,export) $(call read,listen) | ...
#     $(RUN) tune $(addprefix $(BUILD)/,features export) $(@D)
RULES = {
    stage: (prerequisites, recipe)
    for stage, prerequisites, recipe in re.findall(r"^\$\(call made,(\w+)\):(.*)\n\t(.*)$", MAKEFILE, re.MULTILINE)
}


def is_stage(command: click.Command) -> bool:
    return any(parameter.name == "out" for parameter in command.params)


# Not a stage but another beginning of the line: what three of them leave, it leaves where BUNDLE is given.
BEGINNING = "personalise"


def test_there_is_a_module_a_command_and_a_target_for_each_stage_and_no_other() -> None:
    modules = {module.rpartition(".")[2] for module in MODULES if wing(module) == "stages"} - {"stages", BEGINNING}
    commands = {name for name, command in main.commands.items() if is_stage(command)}
    assert modules == commands == set(MAKE_STAGES) == RULES.keys() == STAGES.keys()
    assert STAGES.keys() <= TARGETS
    assert list(STAGES) == MAKE_STAGES  # in the order of the line


@pytest.mark.parametrize("stage", STAGES)
def test_make_gives_a_stage_the_folders_that_its_command_takes(stage: str) -> None:
    prerequisites, recipe = RULES[stage]
    takes = [p.name for p in main.commands[stage].params if isinstance(p, click.Argument) and p.name != "out"]
    given = re.fullmatch(
        rf"\$\(RUN\) {stage}(?: \$\(addprefix \$\(BUILD\)/,([\w ]+)\)| \$\(BUILD\)/(\w+))? \$\(@D\)", recipe
    )
    assert given
    assert (given[1] or given[2] or "").split() == takes
    assert prerequisites.split()[0] == f"pipeline/stages/{stage}.py"


def waits_for(stage: str) -> tuple[set[str], set[str]]:
    """Stages that make has finished, and sections that it has compared, before it looks at one stage."""
    prerequisites, _ = RULES[stage]
    before = {name for names in re.findall(r"\$\(call made,([\w ]+)\)", prerequisites) for name in names.split()}
    sections = {name for names in re.findall(r"\$\(call read,([\w ]+)\)", prerequisites) for name in names.split()}
    for name in sorted(before):
        more_stages, more_sections = waits_for(name)
        before, sections = before | more_stages, sections | more_sections
    return before, sections


@pytest.mark.parametrize("stage", STAGES)
def test_make_knows_all_that_a_stage_reads(stage: str) -> None:
    before, sections = waits_for(stage)
    takes = {p.name for p in main.commands[stage].params if isinstance(p, click.Argument)} - {"out"}
    assert takes <= before
    assert {section for name in (stage, *before) for section in STAGES[name].sections} <= sections


def test_another_beginning_is_made_again_by_whatever_it_is_made_of() -> None:
    (added,) = re.findall(r"^ifneq \(\$\(BUNDLE\),\)\n((?:\$.*\n)+)endif$", MAKEFILE, re.MULTILINE)
    waits = dict(re.findall(r"^\$\(call made,([\w ]+)\): (.*)$", added, re.MULTILINE))
    assert waits.pop("corpus features train") == f"pipeline/stages/{BEGINNING}.py"
    assert waits == {
        "corpus": f"$(call read,{' '.join(PERSONAL['corpus'])}) $(wildcard $(BUNDLE)/receipt.json)",
        "features": "$(wildcard $(BASE)/features/receipt.json)",
        "train": "$(wildcard $(BASE)/train/receipt.json)",
    }


def test_every_section_of_the_settings_is_read_and_compared() -> None:
    read = {section for stage in STAGES.values() for section in stage.sections}
    assert read | {section for sections in PERSONAL.values() for section in sections} == SECTIONS.keys()
    (compared,) = re.findall(r"^SECTIONS := ([\w ]+)$", MAKEFILE, re.MULTILINE)
    assert set(compared.split()) == SECTIONS.keys() | {"source", "negative"}


@pytest.mark.parametrize("name", main.commands)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = main.commands[name]
    assert len(command.help or "") > 20
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_every_target_says_what_it_does() -> None:
    phony = set(re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)[0].split()) & TARGETS | STAGES.keys()
    described = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert phony - {"check-settings"} <= described


# --- what the documents say ---

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def code(text: str) -> Iterator[str]:
    """Lines of fenced and of indented blocks, and what stands between backticks."""
    for part in re.split(r"^(```.*?^```)", text, flags=re.MULTILINE | re.DOTALL):
        if part.startswith("```"):
            yield from part.splitlines()
        else:
            yield from re.findall(r"^(?: {4}|\t)(.*)", part, re.MULTILINE)
            yield from re.findall(r"`([^`]+)`", part)


def make_calls(line: str) -> Iterator[list[str]]:
    """Targets of each `make` in a line of shell; options, variables and PLACEHOLDERS are none."""
    for call in re.findall(r"(?:^|[;&$>(] ?)make(?!\S)([^#;&|)]*)", line.strip()):
        yield [
            word
            for word in re.sub(r"""=("[^"]*"|'[^']*')""", "=", call).split()
            if not re.search(r"^-|=|^[A-Z]+$", word)
        ]


def test_the_reader_of_documents_finds_targets() -> None:
    shell = '$ make CORPUS=folder WORDS="on, off" train  # make it\ncd x && make test'
    text = f"Run `make` or `make STAGE` and\nmake sure.\n```\n{shell}\n```\n\n    make lint\n"
    assert [targets for line in code(text) for targets in make_calls(line)] == [[], [], ["train"], ["test"], ["lint"]]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_targets_in_documents_exist(path: Path) -> None:
    named = {name for line in code(path.read_text(encoding="utf-8")) for names in make_calls(line) for name in names}
    assert named <= TARGETS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(path: Path) -> None:
    lines = list(code(path.read_text(encoding="utf-8")))
    named = {name for line in lines for name in re.findall(r"python -m pipeline ([a-z]\w*)", line)}
    assert named <= main.commands.keys()


def test_the_readme_names_the_two_commands() -> None:
    calls = [tuple(names) for line in code(DOCUMENTS[0].read_text(encoding="utf-8")) for names in make_calls(line)]
    assert {(), ("test",)} <= set(calls)


# --- packages ---

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def requirements(text: str) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


BASE = requirements(SETUP["options"]["install_requires"])
EXTRAS = {name: requirements(text) for name, text in SETUP["options.extras_require"].items()}
LOCKS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("requirements.lock", "requirements-device.txt", "benchmarks/runtimes/requirements.lock")
}


def locked(lock: str = "requirements.lock") -> dict[str, Requirement]:
    """What a lock file pins, each entry with its hashes."""
    entries = re.sub(r"\s+#.*|^#.*", "", LOCKS[lock], flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: dict[str, Requirement] = {}
    for entry in filter(None, map(str.strip, entries)):
        pin, *hashes = entry.split("--hash=")
        requirement = Requirement(pin)
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], entry
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", value) for value in hashes), entry
        found[canonicalize_name(requirement.name)] = requirement
    return found


def test_the_base_requirements_are_the_device_set() -> None:
    assert BASE.keys() == DEVICE_SET


def test_the_extras_are_those_of_the_design() -> None:
    assert {"train", "synthesis", "microphone", "gpu", "dev"} <= EXTRAS.keys()
    assert EXTRAS["train"].keys() & DEVICE_SET == set()


@pytest.mark.parametrize(("lock", "least"), zip(LOCKS, (50, 10, 10), strict=True))
def test_a_lock_pins_everything_with_hashes_and_names_no_host(lock: str, least: int) -> None:
    assert "://" not in LOCKS[lock]
    assert len(locked(lock)) > least


def test_a_device_gets_what_it_was_tested_with_and_nothing_heavy() -> None:
    pins, all_pins = locked("requirements-device.txt"), locked()
    assert pins.keys() >= BASE.keys()
    assert pins.keys() & {canonicalize_name(name) for name in HEAVY} == set()
    assert {name: str(pin.specifier) for name, pin in pins.items()} == {
        name: str(all_pins[name].specifier) for name in pins
    }


def test_the_pinned_node_packages_name_no_host() -> None:
    assert "://" not in (ROOT / "benchmarks/runtimes/package-lock.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("extra", ["base", "train", "synthesis", "microphone", "dev"])
def test_the_lock_holds_what_setup_asks_for(extra: str) -> None:
    pins = locked()
    for name, wanted in (BASE if extra == "base" else EXTRAS[extra]).items():
        (pin,) = pins[name].specifier
        assert wanted.specifier.contains(pin.version), f"{wanted} is pinned at {pin.version}"
