from __future__ import annotations

from arsbench.running.found import Found
from arsbench.running.manifest import Failure


def test_what_one_worker_met_the_others_read_once(tmp_path):
    one, other = Found(tmp_path), Found(tmp_path, ["known"])
    one.tell([Failure("it failed", protector="p")], ["known", "new"])
    one.tell([Failure("it failed", protector="p", manipulator="g")], [])
    assert sorted(other.read()) == ["it failed", "new"]
    assert other.read() == []
    assert {failure.manipulator for failure in other.failures} == {None, "g"}
    assert other.notes == ["known", "new"]


def test_who_met_nothing_writes_nothing(tmp_path):
    Found(tmp_path).tell([], [])
    assert list(tmp_path.iterdir()) == []
