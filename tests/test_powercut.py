# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/powercut: that it sees a miss, and that it does not count what proves nothing.

A few cuts on a real kernel are in tests/kernel/test_powercut.py.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from diskulog.ondisk import State
from tests.images import diskulog

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; it imports its neighbours by their plain names."""
    monkeypatch.syspath_prepend(TOOLS)
    loader = importlib.machinery.SourceFileLoader("powercut", str(TOOLS / "powercut"))
    spec = importlib.util.spec_from_loader("powercut", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would be tools/powercutc
    loader.exec_module(module)
    return module


# -- what is on the images -------------------------------------------------------------------------------------------


@pytest.fixture
def where(tool: ModuleType, tmp_path: Path) -> object:
    """Equal legs of ten regions, the last one short, and a log that calls regions 3 and 9 dirty, 9 out of sync too."""
    made = tool.Images(tmp_path, 16, 10 * 16 - 8)
    store(tmp_path, dirty=[3, 9], out_of_sync=[9])
    for leg in made.paths[:2]:
        leg.write_bytes(bytes(made.length_sectors * 512))
    return made


def store(folder: Path, count: int = 10, dirty: Iterable[int] = (), out_of_sync: Iterable[int] = ()) -> None:
    log = diskulog(count, dirty, out_of_sync, state=State.OPEN, size=65536)
    (folder / "log").write_bytes(log)


def spoil(leg: Path, region: int, offset_bytes: int = 5000, region_bytes: int = 16 * 512) -> None:
    content = bytearray(leg.read_bytes())
    content[region * region_bytes + offset_bytes] ^= 7
    leg.write_bytes(content)


def test_a_region_that_differs_and_is_dirty_is_found_and_is_no_miss(tool: ModuleType, where) -> None:
    spoil(where.paths[1], 3)
    spoil(where.paths[0], 9, 2000)
    found = tool.images.judge(where)
    assert (found.apart, found.torn) == ({3, 9}, {3})
    assert (found.dirty, found.out_of_sync) == ({3, 9}, {9})


@pytest.mark.parametrize("region", [0, 4, 8])
def test_a_region_that_differs_and_is_clean_is_a_miss(tool: ModuleType, where, region: int) -> None:
    spoil(where.paths[0], region)
    with pytest.raises(tool.LostMarkError, match=f"differ in regions {region},"):
        tool.images.judge(where)


def test_the_short_last_region_is_compared_too(tool: ModuleType, where) -> None:
    store(where.folder, dirty=[3])
    spoil(where.paths[0], 9, 8 * 512 - 1)
    with pytest.raises(tool.LostMarkError, match="differ in regions 9,"):
        tool.images.judge(where)


def test_a_reader_that_calls_too_much_dirty_hides_no_miss(
    tool: ModuleType, where, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = frozenset(range(10))
    monkeypatch.setattr(tool.images, "inspected", lambda _: (everything, frozenset()))
    with pytest.raises(tool.MissError, match="disagree about regions 0, 1"):
        tool.images.judge(where)
    spoil(where.paths[0], 4)
    with pytest.raises(tool.LostMarkError):
        tool.images.judge(where)


def test_a_log_that_inspect_finds_fault_with_is_a_miss(tool: ModuleType, where) -> None:
    (where.folder / "log").write_bytes(diskulog(10, state=State.CLOSED, size=65536, clean_crc32=1))
    with pytest.raises(tool.MissError, match="finds fault"):
        tool.images.judge(where)


def test_sectors_are_counted_with_the_short_region(tool: ModuleType, where) -> None:
    assert where.sectors_of(frozenset({0, 1})) == 32
    assert where.sectors_of(frozenset({0, 9})) == 24


# -- what a run adds up to -------------------------------------------------------------------------------------------

Story = Callable[[Path, list[Path]], list[str]]  # what the cut leaves on the images; what the guest told before it


class NoMachine:
    """Stands for a VM: its resync is perfect, and then ``story`` happens."""

    story: Story

    def __init__(self, folder: Path, disks: list[Path], kernel: str, plan: dict[str, object]) -> None:
        self._folder, self._disks, self._plan = folder, disks, plan
        self._before = frozenset(range(256))
        if any(disks[2].read_bytes()):
            self._before = sys.modules["powercut_images"].not_clean(disks[2].read_bytes())
        self.events: list[str] = []

    def wait(self, event: str) -> dict[str, int]:
        self.events.append(event)
        if event == "recovered":
            self._disks[1].write_bytes(self._disks[0].read_bytes())
        size = self._plan["region_size_sectors"]
        copied = len(self._before) * size - (8 if 255 in self._before else 0)
        return {"in_sync_count": 256 - len(self._before), "copied_sectors": copied}

    def go_on(self) -> None:
        pass

    def cut(self) -> None:
        self.events += type(self).story(self._folder, self._disks)

    end = go_on

    def __enter__(self) -> "NoMachine":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def outcome(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the tool without a VM; gives its exit status and its last words."""

    def run(story: Story, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(tool, "booted", type("Booted", (NoMachine,), {"story": staticmethod(story)}))
        monkeypatch.setattr(tool.time, "sleep", lambda _: None)
        monkeypatch.setattr(sys, "argv", ["powercut", "--keep", str(tmp_path), "--region-size", "16", *arguments])
        code = tool.main()
        return code, capsys.readouterr().out

    return run


def good(folder: Path, disks: list[Path]) -> list[str]:
    """Regions 7 and 8 were dirty at the cut, and the legs differ in one of them."""
    store(folder, 256, dirty=[7, 8])
    spoil(disks[0], 7)
    return []


def bad(folder: Path, disks: list[Path]) -> list[str]:
    store(folder, 256, dirty=[7, 8])
    spoil(disks[1], 6)
    return []


def never_apart(folder: Path, disks: list[Path]) -> list[str]:
    store(folder, 256, dirty=[7, 8])
    return []


WITHOUT_PROOF = ("--no-self-proof", "--kinds", "writes", "--count")


def test_cuts_without_a_miss_are_counted(outcome: Callable[..., tuple[int, str]]) -> None:
    code, said = outcome(good, *WITHOUT_PROOF, "6", "--chain", "4")
    assert code == 0
    assert "6 cuts, no miss: 3 integrated, 3 plain\n" in said
    assert "6 caught the legs apart, in 6 regions out of 12 dirty ones\n" in said
    # the first resync of each chain copies everything, the others what the cut before left dirty
    assert f"8 recoveries copied {2 * 256 + 6 * 2} regions" in said


def test_a_miss_ends_the_run_with_the_seed_and_the_images(
    outcome: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, said = outcome(bad, *WITHOUT_PROOF, "6", "--seed", "77")
    assert code == 1
    assert "MISS: the legs differ in regions 6, which the log calls clean; seed 77" in said
    assert str(tmp_path) in said
    assert {path.name for path in tmp_path.iterdir()} >= {"leg-a", "leg-b", "log", "before-boot"}


def test_a_run_that_never_caught_the_legs_apart_does_not_count(outcome: Callable[..., tuple[int, str]]) -> None:
    code, said = outcome(never_apart, *WITHOUT_PROOF, "2")
    assert code == 3
    assert "PROVES NOTHING: no cut caught the legs apart" in said


def test_a_run_whose_cuts_never_hit_their_kind_does_not_count(outcome: Callable[..., tuple[int, str]]) -> None:
    too_late = ["round stores", "round over"]
    code, said = outcome(lambda *where: good(*where) + too_late, "--no-self-proof", "--kinds", "clears", "--count", "1")
    assert code == 3
    assert "no cut hit what it is named after (clears)" in said


def test_a_mistake_that_is_not_caught_ends_the_run(outcome: Callable[..., tuple[int, str]]) -> None:
    code, said = outcome(good, "--count", "1")
    assert code == 3
    assert "did not catch the planted mistake 'early'" in said


def test_a_mistake_that_is_caught_lets_the_run_begin(outcome: Callable[..., tuple[int, str]]) -> None:
    lives = iter([bad, good])
    code, said = outcome(lambda *where: next(lives)(*where), "--count", "1", "--kinds", "writes")
    assert code == 0
    assert "the planted mistake 'early' was caught" in said
    assert "1 cuts, no miss" in said


@pytest.mark.parametrize(
    ("event", "lie", "miss"),
    [
        ("recovered", {"copied_sectors": 16}, "16 sectors were copied by the resync, 4088 were dirty"),
        ("live", {"in_sync_count": 1}, "1 regions were in sync at the activation, the log called 0 clean"),
    ],
)
def test_an_activation_that_believes_or_copies_what_the_log_did_not_say_is_a_miss(
    outcome: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    event: str,
    lie: dict[str, int],
    miss: str,
) -> None:
    honest = NoMachine.wait
    monkeypatch.setattr(NoMachine, "wait", lambda self, word: honest(self, word) | (lie if word == event else {}))
    code, said = outcome(good, *WITHOUT_PROOF, "1")
    assert code == 1
    assert miss in said


def test_legs_that_differ_after_the_resync_are_a_miss(
    outcome: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = NoMachine.wait

    def forgetful(self: NoMachine, event: str) -> dict[str, int]:
        facts = honest(self, event)
        if event == "recovered":
            spoil(self._disks[1], 200)
        return facts

    monkeypatch.setattr(NoMachine, "wait", forgetful)
    code, said = outcome(good, *WITHOUT_PROOF, "1")
    assert code == 1
    assert "after the resync the legs still differ in regions 200" in said


def test_a_word_that_is_unknown_is_a_usage_error(outcome: Callable[..., tuple[int, str]]) -> None:
    for wrong in (["--kinds", "floods"], ["--region-size", "24"], ["--mode", "fast"]):
        with pytest.raises(SystemExit) as ended:
            outcome(good, *wrong)
        assert ended.value.code == 2
