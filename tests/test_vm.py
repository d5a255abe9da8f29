# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/vm: what it refuses before it starts anything, and what the guest of --root is given."""

import pytest

from tests.toolbox import load

vm = load("vm")
HAS_ENVIRONMENT = (vm.REPOSITORY / ".venv/bin").is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no command given"),
        (("--disk", "/nonexistent", "--", "true"), "no such file: /nonexistent"),
        (("--root", "/nonexistent", "--", "true"), "no such directory: /nonexistent"),
        (("--root", "ROOT", "--overlay", "/tmp", "--", "true"), "--overlay names a directory below the host's root"),
        (("--root", "ROOT", "--systemd", "--", "true"), "there is no /lib/systemd/systemd below "),
        (("--memory", "much", "--", "true"), "not a size like 512M or 2G: much"),
        (("--env", "1=2", "--", "true"), "not NAME=VALUE: 1=2"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        vm.parse([str(tmp_path) if word == "ROOT" else word for word in words])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("root", ["/", "ROOT"])
def test_whose_programs_the_command_finds(tmp_path, root):
    chosen = tmp_path if root == "ROOT" else root
    script = vm.command_script(vm.parse(["--root", str(chosen), "--", "true"]))
    assert (f"{vm.REPOSITORY}/.venv/bin" in script.splitlines()[0]) is (root == "/" and HAS_ENVIRONMENT)
    assert script.splitlines()[-1] == "exec true"


def test_the_guest_has_the_root_that_was_named_and_its_kernels_modules(tmp_path):
    kernel = tmp_path / "6.12.1-amd64"
    options = vm.parse(["--root", str(tmp_path), "--share", str(tmp_path), "--", "true"])
    command = " ".join(vm.qemu_command(kernel, tmp_path / "initramfs", tmp_path / "console", [], options))
    for tag, path in (("root", tmp_path), ("modules", kernel / "lib/modules" / kernel.name)):
        assert f"id={tag},path={path},security_model=none,multidevs=remap,readonly=on" in command
    assert f"id=share0,path={tmp_path},security_model=none,multidevs=remap " in command
