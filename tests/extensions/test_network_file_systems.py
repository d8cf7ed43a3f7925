"""Network file systems are recognized by the mounts of the process, and refused by `prepare` and `doctor`."""

from pathlib import Path

import pytest

from webapp.extensions.network_file_systems import find_network_type

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv rw shared:2 - nfs4 files:/export rw,vers=4.2
31 30 0:41 / /srv/local rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/with\040space rw - cifs //files/share rw
33 22 0:43 / /home/ann/remote rw master:4 propagate_from:2 - fuse.sshfs ann@files: rw
34 22 0:44 / /twice rw - nfs files:/old rw
35 34 0:45 / /twice rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/modeldesk/desk.sqlite3", None),
        ("/srv/desk.sqlite3", "nfs4"),
        ("/srv/local/desk.sqlite3", None),
        ("/srvice/desk.sqlite3", None),  # Only a prefix of the name.
        ("/mnt/with space/desk.sqlite3", "cifs"),
        ("/home/ann/remote/deep/desk.sqlite3", "fuse.sshfs"),
        ("/twice/desk.sqlite3", None),  # The newer mount hides the older one.
    ],
)
def test_the_innermost_newest_mount_decides(tmp_path, path, kind):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert find_network_type(Path(path), tmp_path / "mountinfo") == kind


def test_a_link_to_a_network_file_system_is_followed(tmp_path):
    (tmp_path / "link").symlink_to("/srv")
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert find_network_type(tmp_path / "link" / "desk.sqlite3", tmp_path / "mountinfo") == "nfs4"


def test_without_a_list_of_mounts_nothing_is_refused(tmp_path):
    assert find_network_type(tmp_path / "desk.sqlite3", tmp_path / "none") is None


def test_the_disk_of_the_tests_is_a_local_one(tmp_path):
    assert find_network_type(tmp_path) is None


@pytest.mark.sqlite
def test_prepare_and_doctor_refuse_a_database_on_a_network_file_system(app, monkeypatch):
    for module in ("prepare", "doctor"):
        monkeypatch.setattr(f"webapp.cli.{module}.find_network_type", lambda _: "nfs4")
    prepare, doctor = (app.test_cli_runner().invoke(args=[name]) for name in ("prepare", "doctor"))
    assert (prepare.exit_code, "network file system (nfs4)" in prepare.stderr) == (1, True)
    assert (doctor.exit_code, "network file system (nfs4)" in doctor.stdout) == (1, True)
