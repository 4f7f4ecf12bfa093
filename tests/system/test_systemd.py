"""The unit, as it was scored, at work: captions, kills, watchdog, sleep, reload, stop, boot."""

import json

import pytest
from image import BUILD, ROOT, torch_version

import world

pytestmark = pytest.mark.extended
UNIT = "/etc/systemd/system/hearthd.service"
READY = "systemctl show hearthd -p StatusText --value | grep -E '^(GPU_OK|LOADED|WARM)'"


def caption(guest, seed=20, user="alice", model="ember"):
    """What the service says of a picture, asked by the command as an ordinary user."""
    done = guest.must(
        f"hearth caption /payload/picture-{seed}.png --json --model {model} "
        f"--prompt '{world.PROMPT}'",
        user,
    )
    text = json.loads(done.splitlines()[-1])["text"]
    assert text == world.caption(world.draw(seed)[1])
    return text


def main_pid(guest):
    return int(guest.show("hearthd", "MainPID")["MainPID"])


def worker_pid(guest):
    """The engine's process: the only other one of the unit."""
    broker = main_pid(guest)
    pids = guest.must("cat /sys/fs/cgroup/system.slice/hearthd.service/cgroup.procs").split()
    (worker,) = [int(pid) for pid in pids if int(pid) != broker]
    return worker


def journal(guest, lines=6):
    return guest.must(f"journalctl -u hearthd -o cat --no-pager -n {lines}")


def test_the_unit_that_runs_is_the_one_that_was_scored(service):
    assert (
        service.must(f"cat {UNIT}") == (ROOT / "systemd/system/hearthd.service").read_text().strip()
    )
    shown = service.show("hearthd", "FragmentPath", "DropInPaths", "ActiveState", "StatusText")
    assert shown["FragmentPath"] == UNIT
    assert shown["DropInPaths"] == ""
    verdict = service.must(
        "systemd-analyze security hearthd.service --no-pager --threshold=15 | tail -1"
    )
    service.note("systemd-analyze security hearthd.service", verdict)
    assert service.must("systemd-analyze verify --man=no hearthd.service hearthd.socket") == ""
    service.until(READY, "a ready engine")
    service.note(
        "systemctl status hearthd", service.must("systemctl status hearthd --no-pager -n 0")
    )


def test_a_member_of_the_group_gets_a_caption_and_nobody_else_gets_in(service):
    service.note("hearth caption picture-20.png, as alice of the group hearth", caption(service))
    refused = service.run("hearth caption /payload/picture-20.png --model ember", "mallory")
    assert refused.code != 0
    assert "ermission" in refused.output
    service.note("the same as mallory, who is not in the group", refused.output)


def test_the_sandbox_is_around_the_engine_too(service):
    service.until(READY, "a ready engine")
    for pid in (main_pid(service), worker_pid(service)):
        status = service.must(f"cat /proc/{pid}/status")
        fields = dict(line.partition(":\t")[::2] for line in status.splitlines())
        assert fields["NoNewPrivs"] == "1"
        assert fields["Seccomp"] == "2"
        assert fields["CapBnd"] == "0" * 16
        assert service.must(f"ls /proc/{pid}/root/home") == ""
        assert service.run(f"nsenter -t {pid} -m touch /usr/x /etc/x").code != 0
        links = service.must(f"nsenter -t {pid} -n cat /proc/net/dev | tail -n +3 | cut -d: -f1")
        assert links.split() == ["lo"]
    service.note(
        "broker and engine: no capability, no home directory, no network, system calls filtered"
    )


def test_a_model_of_a_home_that_the_service_cannot_see_is_described_with(service):
    """It arrives as open files."""
    service.must("cp -r /usr/share/hearth/ember /home/alice && chmod -R go= /home/alice")
    service.must("chown -R alice: /home/alice")
    text = caption(service, 26, model="/home/alice/ember")
    service.note("hearth caption --model /home/alice/ember, a folder of mode 0700", text)


def test_a_connection_starts_a_service_that_was_stopped(service):
    service.must("systemctl stop hearthd.service")
    assert service.show("hearthd", "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }
    assert service.run("pgrep -u hearth || ls /proc/*/exe -l | grep hearth").code != 0
    caption(service)
    service.note(
        "systemctl stop hearthd: success, no process left; the next caption started it again"
    )


def test_a_killed_engine_is_replaced_and_the_broker_stays(service):
    caption(service)
    broker, worker = main_pid(service), worker_pid(service)
    service.must(f"kill -KILL {worker}")
    caption(service)
    assert main_pid(service) == broker
    assert worker_pid(service) != worker
    service.note("SIGKILL of the engine; the next caption came from a new one", journal(service))


def test_a_killed_broker_is_restarted_by_systemd(service):
    caption(service)
    broker = main_pid(service)
    service.must(f"kill -KILL {broker}")
    service.until(
        f"p=$(systemctl show hearthd -p MainPID --value); test $p != 0 -a $p != {broker}",
        "another broker",
    )
    caption(service)
    assert service.show("hearthd", "NRestarts")["NRestarts"] != "0"
    service.note(
        "SIGKILL of the broker; systemd restarted it, and the next caption came", journal(service)
    )


def test_daemon_reload_goes_by_unnoticed(service):
    caption(service)
    before = (main_pid(service), worker_pid(service))
    service.must("systemctl daemon-reload")
    caption(service)
    assert (main_pid(service), worker_pid(service)) == before
    service.note("systemctl daemon-reload: the same processes, the next caption came")


def test_a_broker_that_hangs_is_replaced_by_the_watchdog(service):
    """With a shorter watchdog than the unit's, so that the test need not wait for half a minute."""
    folder = "/run/systemd/system/hearthd.service.d"
    service.must(
        f"mkdir -p {folder} && printf '[Service]\\nWatchdogSec=10\\n' > {folder}/test.conf"
    )
    try:
        service.must("systemctl daemon-reload && systemctl restart hearthd.service")
        caption(service)
        broker = main_pid(service)
        service.must(f"kill -STOP {broker}")
        service.until("journalctl -u hearthd -b | grep -q 'Watchdog timeout'", "a watchdog")
        service.until(
            f"p=$(systemctl show hearthd -p MainPID --value); test $p != 0 -a $p != {broker}",
            "another broker",
        )
        caption(service)
    finally:
        service.must(
            f"rm -r {folder} && systemctl daemon-reload && systemctl restart hearthd.service"
        )
    service.note(
        "SIGSTOP of the broker, with a drop-in WatchdogSec=10",
        service.must("journalctl -u hearthd -b -o cat | grep -i watchdog"),
    )


def test_settings_are_read_again_while_it_runs_and_wrong_ones_change_nothing(service):
    broker = main_pid(service)
    folder, said = "/etc/hearth/conf.d", "journalctl -u hearthd -b -o cat --no-pager -n 3"
    service.must(f"mkdir -p {folder}")
    service.must(f"printf '[models]\\nkeep_alive = \"1h\"\\n' > {folder}/test.toml")
    service.must("systemctl reload hearthd.service")
    service.until(f"{said} | grep '1 settings changed'", "a change")
    service.must(f"printf '[models]\\nkeep_alife = 1\\n' > {folder}/test.toml")
    service.must("systemctl reload hearthd.service")
    service.until(f"{said} | grep 'test.toml:2'", "a refusal")
    service.note("systemctl reload: a change, then a mistake", service.must(said))
    service.must(f"rm {folder}/test.toml && systemctl reload hearthd.service")
    assert main_pid(service) == broker


def test_drained_it_takes_no_requests_until_it_is_told_to(service):
    caption(service)
    service.must("hearth drain --timeout 60")
    service.until("systemctl show hearthd -p StatusText --value | grep ', drained:'", "the status")
    service.must("hearth resume")
    caption(service)
    service.note("hearth drain, then hearth resume, as root; the next caption came")
    denied = service.run("hearth drain", "alice")
    assert denied.code == 4
    service.note("hearth drain as alice", denied.output)


def test_models_leave_before_the_machine_sleeps_and_requests_go_on_after_it(service):
    caption(service)
    broker, engine = main_pid(service), worker_pid(service)
    service.sleep_and_wake()
    service.until(READY, "a ready engine after the sleep")
    caption(service)
    assert main_pid(service) == broker
    assert worker_pid(service) != engine
    said = service.must("journalctl -u hearth-sleep -u systemd-suspend -o cat --no-pager")
    service.note("systemctl suspend (ACPI S3), woken up from outside", said)
    assert service.must("systemctl --failed --no-legend") == ""


def test_boots_again_with_the_service_and_is_clean_in_between(service):
    service.must("systemctl stop hearthd.service")
    assert service.show("hearthd", "Result")["Result"] == "success"
    service.reboot()
    service.until("systemctl is-active hearthd.service", "the service after a boot")
    caption(service)
    service.note("rebooted; the service came by itself, and the next caption came")


def test_a_user_has_a_service_of_his_own_without_root(service, tree):
    own = "XDG_RUNTIME_DIR=/run/user/$(id -u)"
    service.must("loginctl enable-linger mallory")
    service.until("test -S /run/user/$(id -u mallory)/systemd/private", "the user's manager")
    libtorch = ".local/share/hearth/torch"
    service.must(
        f"cd && mkdir -p {libtorch} && ln -s /payload/site {libtorch}/{torch_version()}", "mallory"
    )
    service.must(f"chmod -R a+w {BUILD}")  # root has installed from it
    install = f"{own} HEARTH_INSTALL_WAIT_S=200 {tree}/systemd/install --user --build {BUILD}"
    service.note("systemd/install --user, as mallory", service.must(install, "mallory"))
    picture = f"/payload/picture-26.png --prompt '{world.PROMPT}'"
    asked = f"{own} ~/.local/bin/hearth caption {picture} 2> /dev/null"
    text = service.must(asked, "mallory")
    assert text == world.caption(world.draw(26)[1])
    service.note("hearth caption, as mallory", text)
    service.must("pkill -KILL -u mallory -x hearthd")
    assert service.must(asked, "mallory") == text
    service.note("SIGKILL of that broker; the next caption came")
    text = service.must(f"{own} {tree}/systemd/uninstall --user", "mallory")
    service.note("systemd/uninstall --user", text)


def test_uninstalling_leaves_nothing_that_starts(service, tree):
    text = service.must(f"{tree}/systemd/uninstall --system --prefix /usr")
    service.note("systemd/uninstall --system --prefix /usr", text)
    assert service.run("systemctl cat hearthd.service").code != 0
    assert service.run("test -e /usr/bin/hearthd").code != 0
    assert service.must("systemctl --failed --no-legend") == ""
