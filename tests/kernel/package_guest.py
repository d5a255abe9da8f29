# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program for a guest with systemd: the Debian package is installed, upgraded under a writer, kept, and purged.

Lives here: the steps, one after the other, and what must be true after each. Does not know the VM around it
(``test_package``), but that its arguments are the package and a later version of it, and that /dev/vda and /dev/vdb are
blank legs, /dev/vdc a blank log.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.kernel import service
from tests.kernel.guest.rig import Mirror, run, until

_MIRROR = Mirror("home", ["/dev/vda", "/dev/vdb"], "/dev/vdc", "UUID-home", length=8 * 2048)
_ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
_SECONDS = 300


def said(*command: str, fails: bool = False) -> str:
    """Run a command as an administrator would, who has nothing of the repository in his path."""
    done = subprocess.run(
        command,
        env=_ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert bool(done.returncode) is fails, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def installed_it_serves_and_will_at_each_boot() -> None:
    # Debian's switch: where man-db is there, it reads every page of the machine at each dpkg, minutes in a VM
    Path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
    said("dpkg", "-i", sys.argv[1])
    assert shutil.which("diskulog", path=_ENVIRON["PATH"]) == "/usr/bin/diskulog"
    assert service.show("ActiveState", "UnitFileState") == ["active", "enabled"]
    said("diskulog", "mirror", "create", "home", *_MIRROR.legs, "--log", _MIRROR.log, "--uuid", _MIRROR.uuid, "--yes")
    said("diskulog", "wait", "--synced", "--timeout", "120", "home")


def an_upgrade_under_writes_loses_no_request() -> None:
    service.writes_begin(_MIRROR)
    since, before = service.now(), service.main_pid()
    said("dpkg", "-i", sys.argv[2])
    service.goes_on()
    assert service.main_pid() != before
    assert str(Path(f"/proc/{service.main_pid()}/exe").readlink()).startswith("/usr/bin/python3")
    assert said("diskulog", "--version")  # the program is the package's
    assert said("dpkg-query", "-W", "-f", "${Version}", "diskulog").endswith("+later")
    # the restart is some seconds of the minutes that dpkg takes here
    assert service.complaints(since) == []
    assert service.show("NRestarts") == ["0"]
    assert "reconnected, 16 of 16 regions in sync" in run("journalctl", "-b", "-u", service.SERVICE, "-o", "cat")


def it_is_not_removed_from_under_a_mirror() -> None:
    assert "still in use by: home" in said("dpkg", "-r", "diskulog", fails=True)
    assert service.show("ActiveState") == ["active"]
    service.goes_on()


def purged_nothing_of_it_is_left() -> None:
    service.writes_end()
    said("diskulog", "mirror", "remove", "home")
    said("dpkg", "--purge", "diskulog")
    assert service.show("ActiveState", "LoadState") == ["inactive", "not-found"]
    left = [path for path in ("/usr/lib/diskulog", "/etc/diskulog", "/usr/bin/diskulog") if Path(path).exists()]
    assert left == []
    until("its sockets are gone", lambda: not Path("/run/diskulog/control.sock").exists())


STEPS: list[Callable[[], None]] = [
    installed_it_serves_and_will_at_each_boot,
    an_upgrade_under_writes_loses_no_request,
    it_is_not_removed_from_under_a_mirror,
    purged_nothing_of_it_is_left,
]

if __name__ == "__main__":
    service.do(STEPS)
