"""Our command in the `runcmd` of a user-data file: the Imager's commands and ours run, in every format."""

from __future__ import annotations

import pytest
import yaml
from device.errors import UserError
from device.install.cloud_config import COMMAND, with_command, with_name
from hypothesis import given, settings
from hypothesis import strategies as st

OURS = ["sh", "/boot/firmware/interview-grader/first-boot"]

CONNECT = """\
#cloud-config
manage_resolv_conf: false

hostname: "room1"
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  preserve_sources_list: true
  conf: |
    Acquire {
      Check-Date "false";
    };
keyboard:
  model: pc105
  layout: "de"
user:
  name: "anna"
  shell: /bin/bash
  lock_passwd: false
  passwd: "$y$jB5$abc.def/gh$ijk"
  sudo: null
ssh_pwauth: true
runcmd:
  - [ systemctl, enable, --now, ssh ]
  - [ sh, -c, "printf '%s\\n' 'a: b] # c' > /home/anna/.config/auth.key" ]
  - [ sleep, "2" ]
  - [ sh, -c, "systemctl --quiet --user --machine='anna@.host' start rpi-connect.service || true" ]
"""

COUNTRY = """\
#cloud-config
hostname: room1
users:
- name: pi
  groups: users,adm,sudo

runcmd:
  - [ rfkill, unblock, wifi ]
  - [ sh, -c, "for f in /var/lib/systemd/rfkill/*:wlan; do echo 0 > \\"$f\\"; done" ]
"""

PLAIN = "#cloud-config\nhostname: room1\nusers:\n- name: pi\n  groups: users,adm,sudo\n"

LEGACY = COUNTRY + "runcmd:\n  - [sh, /boot/firmware/interview-grader/first-boot]\n"
"""The result of two lines that owners once had to append: cloud-init runs only the last list."""

FILES = {
    "connect": CONNECT,
    "country": COUNTRY,
    "plain": PLAIN,
    "the image's own": "#cloud-config\n\n# runcmd:\n#   - [ ls ]\n#hostname: raspberrypi\n",
    "nothing in it": "",
    "only the header, no end of line": "#cloud-config",
    "in the middle": COUNTRY.replace("hostname: room1\n", "") + "\n# later\nhostname: room1\n",
    "in the first column": "#cloud-config\nruncmd:\n- ls\n- [ls, -l]\n\n# more\nhostname: a\n",
    "a script": "#cloud-config\nruncmd:\n  - |\n    echo 'it\n    # its end\n\n# after ours\nlocale: C\n",
    "a comment behind": "#cloud-config\nruncmd: # those of the Imager\n  # first\n  - ls # 'it\n",
    "no end of line": "#cloud-config\nruncmd:\n  - ls",
    "null": "#cloud-config\nruncmd:\nhostname: a\n",
    "null, named": "#cloud-config\nruncmd: null\nhostname: a\n",
    "null, a sign": "#cloud-config\nruncmd: ~ # none\n",
    "flow": "#cloud-config\nruncmd: [ [ ls, \"a]\\\"b\" ], 'it''s # a', ls ] # \"those\nhostname: a\n",
    "flow, a comma at its end": "#cloud-config\nruncmd: [ls, ]\n",
    "flow, empty": "#cloud-config\nruncmd: []\n",
    "windows": COUNTRY.replace("\n", "\r\n"),
    "a document's mark": "#cloud-config\n---\nruncmd: [ls]\n",
    "several lines": '#cloud-config\nbootcmd: [\n  {path: a, b: "c\n  runcmd: d"}\n  ]\nruncmd: [ls]\n',
    "the old advice": LEGACY,
    "the old advice alone": PLAIN + "runcmd:\n  - [sh, /boot/firmware/interview-grader/first-boot]\n",
}


def loaded(text: str) -> dict[str, object]:
    return yaml.safe_load(text) or {}


def commands(text: str) -> list[object]:
    """The items of every list in the text, including the Imager's, which cloud-init would lose."""
    nodes = yaml.compose(text)
    pairs = nodes.value if isinstance(nodes, yaml.MappingNode) else []
    lists = [value for key, value in pairs if key.value == "runcmd"]
    items = [node for each in lists if isinstance(each, yaml.SequenceNode) for node in each.value]
    return [yaml.safe_load(yaml.serialize(node)) for node in items]


@pytest.mark.parametrize("name", FILES)
def test_both_commands_run_and_everything_else_stays(name: str) -> None:
    before, after = FILES[name], with_command(FILES[name])
    expected = [*(each for each in commands(before) if each != OURS), OURS]
    assert loaded(after)["runcmd"] == expected == commands(after)
    assert {**loaded(after), "runcmd": 0} == {**loaded(before), "runcmd": 0}
    assert after.startswith("#cloud-config")
    kept = [line for line in before.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in after.splitlines() if line in kept] == kept, "comments too"
    assert with_command(after) == after, "a second time changes nothing"


def test_line_endings_stay() -> None:
    assert "\n" not in with_command(FILES["windows"]).replace("\r\n", "")


@pytest.mark.parametrize("value", ["raspberrypi", '"raspberrypi"', "'raspberrypi'  # ours"])
def test_a_factory_name_is_replaced(value: str) -> None:
    text = CONNECT.replace('"room1"', value)
    named, before = with_name(text, "interview-grader", {"raspberrypi"})
    assert before == "raspberrypi" and loaded(named) == {**loaded(text), "hostname": "interview-grader"}
    assert with_name(named, "interview-grader", {"raspberrypi"}) == (named, "")


@pytest.mark.parametrize("name", [name for name in FILES if name != "nothing in it"])
def test_a_name_that_the_owner_chose_stays(name: str) -> None:
    assert with_name(FILES[name], "interview-grader", {"raspberrypi"}) == (FILES[name], "")


def test_our_command_in_another_form_is_replaced() -> None:
    for form in (
        "[ sh, /boot/firmware/interview-grader/first-boot ]",
        "sh /boot/firmware/interview-grader/first-boot",
        '["sh", "/boot/firmware/interview-grader/first-boot"]  # ours',
    ):
        assert with_command(f"{COUNTRY}  - {form}\n") == with_command(COUNTRY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hostname: a\n", "line 1"),
        ("## template: jinja\n#cloud-config\n", "line 1"),
        ("\ufeff#cloud-config\n", "line 1"),
        ("#cloud-config\n{runcmd: [ls]}\n", "line 2"),
        ('#cloud-config\n"runcmd": [ls]\n', "line 2"),
        ("#cloud-config\nruncmd : [ls]\n", "line 2"),
        ("#cloud-config\n? runcmd\n: [ls]\n", "line 2"),
        ("#cloud-config\nruncmd: ls\n", "line 2"),
        ("#cloud-config\nruncmd: |\n  ls\n", "line 2"),
        ("#cloud-config\nruncmd:\n  a: b\n", "line 2"),
        ("#cloud-config\nruncmd: [ls,\n  ls]\n", "line 2"),
        ("#cloud-config\nruncmd: [ls\n", "line 2"),
        ("#cloud-config\nruncmd: [ls] ls\n", "line 2"),
        ("#cloud-config\nruncmd: [ls}\n", "line 2"),
        ("#cloud-config\nruncmd: &a [ls]\n", "line 2"),
        ("#cloud-config\nruncmd: !!seq [ls]\n", "line 2"),
        ("#cloud-config\nbase: &base\n  runcmd: [ls]\n<<: *base\n", "line 2"),
        ('#cloud-config\nusers:\n- name: "a\nruncmd: [b]"\n', "line 4"),
        ("#cloud-config\nusers: [\na, b]\n", "line 3"),
        ("#cloud-config\nusers: 'a\n", "line 2"),
        ("#cloud-config\nscript: |2\n   a\n", "line 2"),
        ("#cloud-config\nscript:\n  |\n  a\n", "line 3"),
        ("#cloud-config\nruncmd:\n  - - ls\n |\n", "line 4"),
        ("#cloud-config\nhostname: a\n---\nruncmd: [ls]\n", "line 3"),
        ("#cloud-config\nhostname: a\n...\n", "line 3"),
        ("#cloud-config\n  hostname: a\n", "line 2"),
        ("#cloud-config\n- ls\n", "line 2"),
        ("#cloud-config\nruncmd: null\xa0\n", "line 2"),
        ("#cloud-config\n# a\x85b\nhostname: a\n", "line 2"),
        ("\xa0", "line 1"),
        ("#cloud-config\n\thostname: a\n", "line 2"),
        ("#cloud-config\nruncmd: [ls]\nruncmd: [ls]\n", "line 3"),
        ("#cloud-config\nruncmd: [ls]\nruncmd:\n", "line 3"),
    ],
)
def test_unsupported_files_are_refused_with_the_next_step(text: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        with_command(text)
    said = str(refused.value)
    assert words in said and f"- {COMMAND}" in said and "\n" not in said


TEXTS = st.text("ab:#-[]{}|>'\"\\, \n!&*%?", max_size=12)
SCALARS = TEXTS | st.none() | st.booleans() | st.integers()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # the machine may be busy
@given(
    before=st.dictionaries(st.sampled_from(["hostname", "users"]), VALUES),
    runcmd=st.none() | st.lists(TEXTS | st.lists(TEXTS, max_size=3), max_size=3),
    after=st.dictionaries(st.sampled_from(["packages", "apt"]), VALUES),
    flow=st.booleans(),
    width=st.sampled_from([10, 1000]),
)
def test_no_file_is_edited_wrongly(
    before: dict[str, object],
    runcmd: list[object] | None,
    after: dict[str, object],
    flow: bool,
    width: int,
) -> None:
    table = {**before, "runcmd": runcmd, **after}
    parts = [
        yaml.safe_dump(part, default_flow_style=False, width=width, sort_keys=False) if part else ""
        for part in (before, {"runcmd": runcmd}, after)
    ]
    if flow:
        parts[1] = f"runcmd: {yaml.safe_dump(runcmd, default_flow_style=True, width=1000)}".removesuffix(
            "...\n"
        )
    text = "".join(parts)
    try:
        made = with_command(f"#cloud-config\n{text}")
    except UserError as refused:
        wraps = width == 10  # plain text continues in the next line, which may begin with a bracket or a star
        assert wraps or "several lines" in str(refused) or "not a list in a supported form" in str(refused), (
            text
        )
        return
    assert loaded(made) == {**table, "runcmd": [*(runcmd or []), OURS]}
    assert with_command(made) == made
