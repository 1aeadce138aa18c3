"""Layers and their precedence, all problems at once, and never a traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.configuration import layers
from appliance.configuration import load as config
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, find_state_dir, load_config
from appliance.configuration.page_file import PAGE_KEYS
from appliance.configuration.settings import PLAIN_SECTIONS
from appliance.errors import ConfigError, ConfigErrors
from appliance.system.addresses import is_loopback


class Places:
    """The places from which configuration is read, all below one folder."""

    def __init__(self, root: Path) -> None:
        self.board = root / "usr" / "board.toml"
        self.owner = root / "etc" / "config.toml"
        self.dropins = root / "etc" / "config.d"
        self.state = root / "state"
        self.page = self.state / "page.toml"
        self.given = root / "given" / "mine.toml"
        self.given_dropins = root / "given" / "config.d"
        for folder in (self.board.parent, self.dropins, self.state, self.given_dropins):
            folder.mkdir(parents=True)

    def load(self, *, environment: Mapping[str, str] | None = None, **request: Any) -> Config:
        return load_config(ConfigOptions(data_dir=self.state, **request), environment or {})

    def problems(self, **request: Any) -> list[ConfigError]:
        with pytest.raises(ConfigErrors) as caught:
            self.load(**request)
        return caught.value.problems


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    made = Places(tmp_path)
    for module in (layers, config):
        monkeypatch.setattr(module, "BOARD_FILE", made.board)
    monkeypatch.setattr(layers, "OWNER_FILE", made.owner)
    return made


# --- layers ---


def test_defaults(places: Places) -> None:
    found = places.load()
    assert (found.camera.backend, found.engine.backend, found.lamps.backend) == ("auto", "auto", "none")
    assert (found.web.host, found.web.port, found.access.open_to_network) == ("127.0.0.1", 8080, False)
    assert found.origins == {}
    assert not found.installed


ORDER = ["board", "owner", "drop-in 1", "drop-in 2", "environment", "command line"]


@pytest.mark.parametrize("strongest", range(len(ORDER)), ids=ORDER)
def test_later_layers_win_and_are_named(places: Places, strongest: int) -> None:
    files = [
        places.board,
        places.owner,
        places.dropins / "10-first.toml",
        places.dropins / "20-second.toml",
    ]
    for index, path in enumerate(files[: strongest + 1]):
        path.write_text(f"[web]\nport = {9000 + index}\n")
    environment = {"INTERVIEW_GRADER__WEB__PORT": "9004"} if strongest >= 4 else {}
    chosen = ["web.port=9005"] if strongest >= 5 else []
    found = places.load(environment=environment, settings=chosen)
    assert found.web.port == 9000 + strongest
    origin = str(files[strongest]) if strongest < 4 else ORDER[strongest]
    assert found.origins == {"web.port": origin}


def test_layers_are_merged_key_by_key(places: Places) -> None:
    places.board.write_text('[lamps]\nbackend = "gpiozero"\nrunning = 5\nfault = 6\n')
    places.owner.write_text("[lamps]\nfault = 7\n")
    found = places.load(settings=["lamps.red=8"])
    lamps = found.lamps.settings.model_dump()
    assert (found.lamps.backend, lamps["running"], lamps["fault"], lamps["red"]) == ("gpiozero", 5, 7, 8)
    assert found.installed, "a board file means an installed device"


def test_a_named_file_replaces_both_of_the_owners_layers(places: Places) -> None:
    places.board.write_text("[web]\nmax_viewers = 3\n")
    places.owner.write_text("[web]\nport = 1\n")
    (places.dropins / "a.toml").write_text("[web]\njpeg_quality = 11\n")
    places.given.write_text("[web]\nport = 9001\n")
    (places.given_dropins / "a.toml").write_text("[vision]\nmax_people = 2\n")
    places.page.write_text('[lawful]\nregion = "EU"\n')
    found = places.load(config=places.given)
    assert (found.web.port, found.web.jpeg_quality, found.vision.max_people) == (9001, 80, 2)
    assert (found.web.max_viewers, found.lawful.region) == (3, "EU"), "board and page still apply"


def test_another_backend_in_a_higher_layer_drops_the_keys_of_the_lower_one(places: Places) -> None:
    places.owner.write_text('[camera]\nbackend = "csi"\nindex = 1\nhflip = true\n')
    found = places.load(camera="usb:/dev/video3")
    assert found.camera.backend == "usb"
    assert found.camera.settings.model_dump()["device"] == "/dev/video3"
    assert "camera.index" not in found.origins


def test_the_same_backend_in_a_higher_layer_keeps_them(places: Places) -> None:
    places.owner.write_text('[camera]\nbackend = "usb"\nwidth = 640\n')
    found = places.load(camera="usb")
    assert found.camera.settings.model_dump()["width"] == 640


def test_keys_for_auto_do_not_reach_another_backend(places: Places) -> None:
    places.owner.write_text("[camera]\nwidth = 640\n")
    assert places.load().camera.settings.model_dump()["width"] == 640
    assert places.load(camera="demo").camera.backend == "demo"


def test_only_toml_files_are_drop_ins(places: Places) -> None:
    (places.dropins / "notes.txt").write_text("not TOML at all [[[")
    (places.dropins / "old.toml.bak").write_text("[web]\nport = 1\n")
    assert places.load().web.port == 8080


@pytest.mark.parametrize(
    ("text", "section", "key", "value"),
    [
        ("web.port=9001", "web", "port", 9001),
        ("vision.threshold=0.25", "vision", "threshold", 0.25),
        ("access.open_to_network=true", "access", "open_to_network", True),
        ('web.allowed_hosts=["a.example", "b.example"]', "web", "allowed_hosts", ("a.example", "b.example")),
        ('vision.models="/srv/models"', "vision", "models", "/srv/models"),
        ("vision.models=/srv/models", "vision", "models", "/srv/models"),
        ("vision.models=/srv/a=b", "vision", "models", "/srv/a=b"),
        (" web.port = 9001", "web", "port", 9001),
    ],
)
def test_set_takes_toml_values(places: Places, text: str, section: str, key: str, value: object) -> None:
    assert getattr(getattr(places.load(settings=[text]), section), key) == value


def test_host_names_are_lower_case(places: Places) -> None:
    found = places.load(settings=['web.allowed_hosts=["Grader.Example", "b_2.local"]'])
    assert found.web.allowed_hosts == ("grader.example", "b_2.local")


def test_frame_ancestors_are_origins_in_lower_case(places: Places) -> None:
    found = places.load(settings=['web.frame_ancestors=["https://Dash.Example:8123", "http://192.0.2.5"]'])
    assert found.web.frame_ancestors == ("https://dash.example:8123", "http://192.0.2.5")


def test_a_user_without_a_home_folder_must_name_a_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="--data-dir"):
        find_state_dir(None, {})
    assert find_state_dir(Path("/mine"), {}) == Path("/mine")


def test_the_last_of_several_sets_wins(places: Places) -> None:
    assert places.load(settings=["web.port=1111", "web.port=2222"]).web.port == 2222


@pytest.mark.parametrize("text", ["web.port", "port=1", "=1", ".=1", "web.=1", ""])
def test_a_malformed_set_is_reported(places: Places, text: str) -> None:
    (problem,) = places.problems(settings=[text])
    assert problem.key == "--set" and problem.value == text
    assert "SECTION.KEY=VALUE" in problem.reason


def test_short_options(places: Places) -> None:
    found = places.load(host="::1", port="9002", camera="replay:/a/b:c.mp4")
    assert (found.web.host, found.web.port, found.camera.backend) == ("::1", 9002, "replay")
    assert found.camera.settings.model_dump()["path"] == "/a/b:c.mp4"


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("nosuch", "unknown camera backend"),
        ("replay:", "expected --camera replay:PATH"),
        ("demo:x", "demo takes no argument"),
        ("auto:0", "auto takes no argument"),
        ("csi:front", "integer"),
        ("csi:99", "7"),
        ("replay", "is required"),
    ],
)
def test_an_invalid_camera_argument_is_reported(places: Places, argument: str, named: str) -> None:
    assert named in "\n".join(map(str, places.problems(camera=argument)))


@pytest.mark.parametrize(
    ("environment", "wanted", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, None, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/home/x/.state"}, None, "/home/x/.state/interview-grader"),
        ({"STATE_DIRECTORY": "/var/lib/a", "XDG_STATE_HOME": "/s"}, Path("/mine"), "/mine"),
        ({"XDG_STATE_HOME": ""}, None, str(Path.home() / ".local/state/interview-grader")),
    ],
)
def test_the_state_directory(environment: dict[str, str], wanted: Path | None, expected: str) -> None:
    assert find_state_dir(wanted, environment) == Path(expected)


# --- problems ---


def test_all_problems_are_reported_at_once_with_their_origins(places: Places) -> None:
    places.owner.write_text(
        '[web]\nprot = 1\n[vision]\nthreshold = 7\n[wbe]\nport = 1\n[lamps]\nbackend = "x"\n'
    )
    (places.dropins / "a.toml").write_text("[vision]\nmax_people = 0\n")
    problems = places.problems(
        environment={"INTERVIEW_GRADER__WEB__JPEG_QUALITY": "high"}, settings=["camera.widht=1", "nonsense"]
    )
    found = {(problem.file, problem.key, problem.value) for problem in problems}
    owner = str(places.owner)
    assert found == {
        (owner, "web.prot", 1),
        (owner, "vision.threshold", 7),
        (owner, "wbe", None),
        (owner, "lamps.backend", "x"),
        (str(places.dropins / "a.toml"), "vision.max_people", 0),
        ("environment", "web.jpeg_quality", "high"),
        ("command line", "camera.widht", 1),
        ("", "--set", "nonsense"),
    }
    assert all(problem.reason for problem in problems)


def test_a_missing_key_is_reported_with_another_mistake(places: Places) -> None:
    found = places.problems(settings=["access.certificate=/a.pem", "access.idle_minutes=0"])
    assert {problem.key for problem in found} == {"access.certificate", "access.idle_minutes"}


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("[web]\nprot = 1", "web.prot", "port"),
        ("[wbe]\nport = 1", "wbe", "web"),
        ('[camera]\nbackend = "usb"\ndevcie = "x"', "camera.devcie", "device"),
        ('[camera]\nbackend = "replya"', "camera.backend", "replay"),
        ('[lamps]\nbackend = "gpiozer"', "lamps.backend", "gpiozero"),
        ("[camera]\nbakend = 'replay'", "camera.bakend", "backend"),
        ("[camera]\nbackend = 'usb'\nbakend = 'replay'", "camera.bakend", "backend"),
        ("[engine]\nbackedn = 'coral'", "engine.backedn", "backend"),
        ("[lamps]\nbacken = 'gpiozero'", "lamps.backen", "backend"),
    ],
)
def test_an_unknown_name_suggests_the_nearest_known_one(
    places: Places, text: str, key: str, meant: str
) -> None:
    places.owner.write_text(text)
    (problem,) = places.problems()
    assert (problem.key, problem.file) == (key, str(places.owner))
    assert f"did you mean '{meant}'?" in problem.reason


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[camera]\npath = 'a.mp4'", "camera.path", 'belongs to camera.backend = "replay"; set that'),
        ("[camera]\nbackend = 'demo'\ndevice = 0", "camera.device", 'belongs to camera.backend = "usb"'),
        ("[engine]\nprecision = 'int8'", "engine.precision", 'belongs to engine.backend = "tensorrt"'),
        ("[lamps]\nrunning = 3", "lamps.running", 'belongs to lamps.backend = "gpiozero" or "jetson"'),
        ("[camera]\npaht = 'a.mp4'", "camera.paht", "did you mean 'path' of camera.backend = \"replay\"?"),
    ],
)
def test_a_key_of_another_backend_names_that_backend(places: Places, text: str, key: str, said: str) -> None:
    places.owner.write_text(text)
    (problem,) = places.problems()
    assert problem.key == key
    assert said in problem.reason, problem.reason


def test_an_unknown_name_unlike_any_other_lists_all(places: Places) -> None:
    (problem,) = places.problems(settings=["web.zzz=1"])
    assert "host" in problem.reason and "jpeg_quality" in problem.reason
    (problem,) = places.problems(settings=["lamps.zzz=1"])
    assert "known: backend" in problem.reason


@pytest.mark.parametrize(
    "setting",
    [
        "web.port=-1",
        "web.port=65536",
        "web.port=many",
        "web.port=80.5",
        "web.max_viewers=0",
        "web.jpeg_quality=9",
        "vision.threshold=0",
        "vision.threshold=1",
        "vision.threshold=nan",
        "vision.max_people=0",
        "vision.smoothing_s=-0.1",
        "vision.expiry_s=inf",
        "camera.fps=0",
        "camera.fps=1.9",
        'web.allowed_hosts=["http://grader.example"]',
        'web.allowed_hosts=["grader.example:8080"]',
        'web.allowed_hosts=["grader.example", ""]',
        "camera.width=[1]",
        "access.open_to_network=maybe",
        'web.allowed_hosts="one"',
        'web.frame_ancestors=["dashboard.example"]',
        'web.frame_ancestors=["https://dashboard.example/"]',
        'web.frame_ancestors=["https://*.example"]',
        'web.frame_ancestors=["https://a.example; script-src *"]',
        """web.frame_ancestors=["'none'"]""",
        "engine.threads=0",
        "engine.runtime=tensorflow",
        "camera.backend=1",
        "camera.backend={a=1}",
    ],
)
def test_types_and_limits(places: Places, setting: str) -> None:
    (problem,) = places.problems(settings=[setting])
    assert problem.key == setting.partition("=")[0]
    assert problem.file == "command line"
    assert problem.value is not None and str(problem.value) in str(problem)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"[web\nport = 1", "is not valid TOML"),
        (b"[web]\nport = 1\nport = 2", "is not valid TOML"),
        (b"\xff\xfe[\x00w\x00", "is not UTF-8"),
        (b"port = 1\n", "outside a section"),
        (b"web = 3\n", "outside a section"),
        (b"[[web]]\nport = 1\n", "outside a section"),
    ],
    ids=["broken", "twice", "UTF-16", "no section", "section is a number", "section is a list"],
)
@pytest.mark.parametrize("place", ["board", "owner", "given"])
def test_an_unusable_file_is_reported(places: Places, place: str, content: bytes, named: str) -> None:
    path: Path = getattr(places, place)
    path.write_bytes(content)
    (problem,) = places.problems(config=places.given if place == "given" else None)
    assert problem.file == str(path)
    assert named in problem.reason


@pytest.mark.parametrize("place", ["owner", "given"])
def test_a_folder_instead_of_a_file_is_reported(places: Places, place: str) -> None:
    path: Path = getattr(places, place)
    path.mkdir()
    (problem,) = places.problems(config=path if place == "given" else None)
    assert problem.file == str(path) and "cannot be read" in problem.reason


def test_a_missing_named_file_is_reported(places: Places) -> None:
    (problem,) = places.problems(config=places.given)
    assert problem.file == str(places.given) and "cannot be read" in problem.reason


REFUSED = Path("/" + "x" * 300)
"""A path that the system refuses to look up for any user, as it does a closed folder for all but root."""


@pytest.mark.parametrize(
    "request_",
    [ConfigOptions(config=REFUSED), ConfigOptions(data_dir=REFUSED)],
    ids=["file", "state directory"],
)
@pytest.mark.usefixtures("places")
def test_a_path_that_the_system_refuses_is_reported(request_: ConfigOptions) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config(request_, {"XDG_STATE_HOME": "/nowhere"})
    (problem,) = caught.value.problems
    assert problem.file.startswith(str(REFUSED)) and "cannot be read" in problem.reason


@pytest.mark.parametrize("value", ["[" * 20_000, "9" * 5_000], ids=["nested", "a number of 5000 digits"])
def test_a_value_that_the_parser_rejects_is_reported(places: Places, value: str) -> None:
    with pytest.raises(ConfigErrors):
        places.load(settings=[f"web.port={value}"])
    places.owner.write_text(f"[web]\nport = {value}\n")
    with pytest.raises(ConfigErrors):
        places.load()


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
SECTIONS = st.one_of(
    st.sampled_from(["camera", "engine", "lamps", "vision", "web", "access"]), st.text(max_size=6)
)
KEYS = st.one_of(
    st.sampled_from(["backend", "port", "host", "path", "device", "threshold", "models"]), st.text()
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(SECTIONS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4), max_size=3))
def test_any_content_of_the_layers_gives_problems_only(values: list[dict[str, dict[str, Any]]]) -> None:
    problems: list[ConfigError] = []
    merged, origins = layers.merge_layers(
        [layers.Layer(str(n), each) for n, each in enumerate(values)], problems
    )
    assert set(origins) == {f"{section}.{key}" for section, table in merged.items() for key in table}
    for section, table in merged.items():
        if section in config.BACKEND_SECTIONS:
            config._read_backend(section, config.BACKEND_SECTIONS[section], table, origins, problems)
        else:
            config._validate(section, config.PLAIN_SECTIONS[section], table, origins, problems)
    for problem in problems:
        assert str(problem).strip()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.one_of(st.binary(max_size=80), st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_file_gives_problems_only(places: Places, content: bytes) -> None:
    places.owner.write_bytes(content)
    try:
        places.load()
    except ConfigErrors as found:
        assert all(problem.file == str(places.owner) for problem in found.problems)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_any_argument_gives_problems_only(places: Places, setting: str, camera: str, host: str) -> None:
    try:
        places.load(
            settings=[setting], camera=camera, host=host, environment={"INTERVIEW_GRADER__WEB": setting}
        )
    except ConfigErrors as found:
        assert all(problem.reason for problem in found.problems)


# --- addresses ---


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LOCALHOST"]
)
def test_loopback_needs_no_login(places: Places, host: str) -> None:
    assert is_loopback(host)
    assert not places.load(host=host).needs_login
    assert places.load(host=host).web.host == host


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "192.168.1.5",
        "::ffff:192.168.1.5",
        "fe80::1%eth0",
        "example.org",
        "127.0.0.1.evil",
    ],
)
def test_any_other_address_needs_a_login(places: Places, host: str) -> None:
    assert places.load(host=host).needs_login
    assert not places.load(host=host, settings=["access.open_to_network=true"]).needs_login


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_loopback_can_require_a_login(places: Places, host: str) -> None:
    assert places.load(host=host, settings=["access.loopback=login"]).needs_login
    assert not places.load(
        host=host, settings=["access.loopback=login", "access.open_to_network=true"]
    ).needs_login
    with pytest.raises(ConfigErrors, match=r"access\.loopback"):
        places.load(settings=["access.loopback=nobody"])
    assert not places.load(host="127.0.0.1").needs_login, "in a checkout"


def test_a_trusted_proxy_brings_strangers(places: Places) -> None:
    trusted = 'web.trusted_proxies=["127.0.0.1"]'
    near = places.load(host="127.0.0.1", settings=[trusted])
    assert near.needs_login and not near.needs_tls, "nothing but the proxy and the operator connects"
    assert places.load(host="0.0.0.0", settings=[trusted]).needs_tls
    assert places.load(host="127.0.0.1", settings=[trusted, "access.loopback=login"]).needs_tls
    assert not places.load(settings=[trusted, "access.open_to_network=true"]).needs_login


@pytest.mark.parametrize("given", ["localhost", "192.0.2.7/24", "0.0.0.0/0", "::/0", ""])
def test_a_trusted_proxy_is_an_address_or_a_network(places: Places, given: str) -> None:
    with pytest.raises(ConfigErrors, match=r"web\.trusted_proxies"):
        places.load(settings=[f'web.trusted_proxies=["{given}"]'])
    assert places.load(settings=['web.trusted_proxies=["192.0.2.0/24", "2001:db8::/64"]']).needs_login


@pytest.mark.parametrize("given", ["grader", "//grader", "/a b", "/a/../b", "https://x/", "/a?b"])
def test_a_base_path_is_a_plain_path(places: Places, given: str) -> None:
    with pytest.raises(ConfigErrors, match=r"web\.base_path"):
        places.load(settings=[f'web.base_path="{given}"'])
    assert places.load(settings=['web.base_path="/a/grader/"']).web.base_path == "/a/grader"
    assert places.load(settings=['web.base_path="/"']).web.base_path == ""


def test_an_empty_host_is_reported(places: Places) -> None:
    (problem,) = places.problems(host="")
    assert problem.key == "web.host"


@pytest.mark.parametrize(("given", "lacks"), [("certificate", "key"), ("key", "certificate")])
def test_a_certificate_needs_its_key(places: Places, given: str, lacks: str) -> None:
    (problem,) = places.problems(settings=[f"access.{given}=/etc/a.pem"])
    assert problem.key == f"access.{given}" and f"access.{lacks}" in problem.reason


def test_files_hidden_from_the_service_are_reported(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.owner.write_text(
        '[vision]\nmodels = "/home/pi/models"\n[access]\ncertificate = "/tmp/c"\nkey = "/etc/k"\n'
    )
    config.check_sandbox_paths(places.load())  # a checkout has no sandbox
    places.board.touch()
    config.check_sandbox_paths(places.load())  # nor has a checkout on a device
    monkeypatch.setattr(config, "SERVICE_STATE", places.state)
    with pytest.raises(ConfigErrors) as caught:
        config.check_sandbox_paths(places.load())
    assert [each.key for each in caught.value.problems] == ["vision.models", "access.certificate"]
    assert {each.file for each in caught.value.problems} == {str(places.owner)}


# --- the page's file, which the service may write ---


def test_only_keys_on_the_pages_list_are_used(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    places.owner.write_text("[web]\nport = 9001\n")
    places.page.write_text(
        '[lawful]\nregion = "EU"\npurpose = "practice"\ninstitution = "none"\n'
        '[engine]\nbackend = "coral"\nlibrary = "/srv/evil.so"\n'
        '[web]\nport = 1\nhost = "0.0.0.0"\n[access]\nopen_to_network = true\n'
        '[camera]\nbackend = "replay"\npath = "/etc/shadow"\n["x\\u001b[31m"]\nkey = 1\n'
    )
    found = places.load()
    law = found.lawful
    assert (law.region, law.purpose, law.institution) == ("EU", "practice", "none")
    assert {key for key, origin in found.origins.items() if origin == str(places.page)} == PAGE_KEYS
    assert (found.engine.backend, found.camera.backend) == ("auto", "auto")
    assert (found.web.port, found.web.host, found.access.open_to_network) == (9001, "127.0.0.1", False)
    [line] = [record.getMessage() for record in caplog.records]
    assert "keys that the page may not set: access.open_to_network, camera.backend, camera.path" in line
    assert "and 3 more" in line and line.isprintable()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[lawful\nregion = 1", "is not valid TOML"),
        (b"\xff\xfe[\x00w\x00", "is not UTF-8"),
        (b"lawful = 3\n", "may not set: lawful;"),
        (b'[lawful]\nregion = "nowhere"\n', "may not set: lawful.region;"),
        (b"[lawful]\nregion = [[1]]\n[web]\nprot = 1\n", "may not set: lawful.region, web.prot;"),
        (b"[wbe]\nport = 1\n", "may not set: wbe.port;"),
        (None, "cannot be read"),
    ],
    ids=["broken", "UTF-16", "a number", "no region", "a list", "no section", "a folder"],
)
def test_no_content_of_the_page_file_prevents_a_start(
    places: Places, caplog: pytest.LogCaptureFixture, content: bytes | None, words: str
) -> None:
    places.page.mkdir() if content is None else places.page.write_bytes(content)
    found = places.load()
    assert (found.lawful.region, found.origins) == ("", {})
    [line] = [record.getMessage() for record in caplog.records]
    assert words in line and str(places.page) in line and "\n" not in line


def test_a_pipe_as_the_page_file_does_not_block_the_start(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(places.page)
    assert places.load().lawful.region == ""
    assert "expected a file" in caplog.text


def test_no_key_on_the_pages_list_names_a_file_or_an_address() -> None:
    """Only choices, switches and numbers, because free text or a port number could name one."""
    for name in PAGE_KEYS:
        section, _, key = name.partition(".")
        kind = PLAIN_SECTIONS[section].model_fields[key].annotation
        assert {type(each) for each in _choices(kind)} == {str} or kind in (bool, int, float), name
        assert not re.search(r"port|pin|host|backend", key), name


def _choices(kind: object) -> list[object]:
    """Every value of a `Literal`, including nested ones."""
    if get_origin(kind) is not Literal:
        return [choice for each in get_args(kind) for choice in _choices(each)]
    return list(get_args(kind))
