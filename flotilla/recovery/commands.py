"""The commands that do by hand what an act does, or show that it is so, and what to expect of them.

They are shown, never run from here. Variables are told in the runbook's head (``document.VARIABLES``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flotilla.recovery import acts, goals
from flotilla.recovery.acts import Act
from flotilla.recovery.bodies import epoch_text, records, sync_setting
from flotilla.recovery.steps import Plan

Told = tuple[list[str], str]


def told(act: Act, plan: Plan) -> Told:
    """Return the commands that do an act, or show that it is so, and what to expect of them."""
    return _COMMANDS[act.kind](act, plan)


def _host(site: str) -> str:
    return f"$HOST_{site.upper().replace('-', '_')}"


def _sql(site: str, *statements: str) -> list[str]:
    return [f'psql -X -v ON_ERROR_STOP=1 -h {_host(site)} -d "$DB" -c "{statement}"' for statement in statements]


def _on(site: str, command: str) -> str:
    return f"ssh postgres@{_host(site)} '{command}'"


def _setting(site: str, name: str, value: str) -> list[str]:
    return _sql(site, f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()", f"SHOW {name}")


def _lease(act: Any, plan: Plan) -> Told:
    said: dict[str, object] = {"epoch": plan.epoch, "run": "by-hand"}
    if isinstance(act, acts.Publish):
        said = {"published": plan.epoch, "primary": act.primary, "authorised": ",".join(act.authorised)}
        said["promotable"] = ",".join(act.promotable)
    marks = " ".join(f"flotilla.dev/{name}={value}" for name, value in said.items())
    at = f"kubectl --context {act.site} -n flotilla-system"
    return [
        f"{at} annotate --overwrite lease flotilla-recovery {marks}"
    ], "lease.coordination.k8s.io/flotilla-recovery annotated"


def _begin(act: Act, plan: Plan) -> Told:
    command = _on(act.site, "systemctl stop flotilla-agent; systemctl is-active flotilla-agent")
    return [command], f"`inactive`: nothing acts here but you. Your epoch is {plan.epoch}: write it down"


def _fence(act: Act, plan: Plan) -> Told:
    reject = "host all all all reject\\nlocal all all reject"
    first = _on(act.site, f'cp "$HBA" "$HBA.before"; {{ grep -w replication "$HBA.before"; printf "{reject}\\n"; }} > "$HBA"')
    others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    out = f"SELECT pg_terminate_backend(pid) {others} AND wait_event IS DISTINCT FROM 'SyncRep'"
    again = f"SELECT count(*) {others}"
    inside = [_on(act.site, f'psql -X -d "$DB" -c "{one}"') for one in ("SELECT pg_reload_conf()", out, again)]
    return [first, *inside], "the last count is 0, or what is left waits for `SyncRep`: do not cancel that"


def _unfence(act: Act, plan: Plan) -> Told:
    back = _on(act.site, 'test ! -e "$HBA.before" || mv "$HBA.before" "$HBA"; psql -X -d "$DB" -c "SELECT pg_reload_conf()"')
    return [back], "`t`: clients get in again"


def _drain(act: Act, plan: Plan) -> Told:
    left = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND backend_xid IS NOT NULL"
    return [*_setting(act.site, "default_transaction_read_only", "on"), *_sql(act.site, left)], "`on`, and 0 writers soon"


def _follow(act: acts.Follow, plan: Plan) -> Told:
    info = f"host={_host(act.upstream)} user=repl sslmode=verify-ca application_name={act.site}"
    slot = act.site.replace("-", "_")
    running = [*_setting(act.site, "primary_conninfo", info), *_setting(act.site, "primary_slot_name", slot)]
    lines = f"primary_conninfo = \\047{info}\\047\\nprimary_slot_name = \\047{slot}\\047\\n"
    auto = f'printf "{lines}" >> "$PGDATA/postgresql.auto.conf"'
    stopped = _on(act.site, f'{auto}; touch "$PGDATA/standby.signal"')
    return ["# if it runs:", *running, "# if it is stopped:", stopped], f"it is told to follow {act.upstream}"


def _following(act: Any, plan: Plan) -> Told:
    moves = _sql(act.site, "SELECT received_tli, pg_last_wal_replay_lsn() FROM pg_stat_wal_receiver")
    here = _sql(act.upstream, "SELECT pg_walfile_name(pg_current_wal_lsn()), pg_current_wal_flush_lsn()")
    return [
        *moves,
        "sleep 3",
        *moves,
        *here,
    ], f"the same timeline as {act.upstream}, and a position that moves; a state proves nothing"


def _rejoin(act: goals.Rejoin, plan: Plan) -> Told:
    commands = ["# 1. it must not run as a primary", *_stop(acts.Stop(act.site), plan)[0]]
    commands += ["# 2. a checkpoint on the new primary, or the rewind goes wrong", *_sql(act.upstream, "CHECKPOINT")]
    commands += [
        "# 3. evidence first, then away with what nobody else has",
        *_rewind(acts.Rewind(act.site, act.upstream), plan)[0],
    ]
    commands += ["# if that fails: anew", *_reseed(acts.Reseed(act.site, act.upstream), plan)[0]]
    commands += ["# 4.", *_follow(acts.Follow(act.site, act.upstream), plan)[0][-1:], *_start(acts.Start(act.site), plan)[0]]
    expected = _following(act, plan)
    return [*commands, *expected[0]], expected[1]


def _rewind(act: acts.Rewind, plan: Plan) -> Told:
    source = f"host={_host(act.upstream)} user=rewind dbname=postgres sslmode=verify-ca"
    keep = _on(act.site, 'cp -a "$PGDATA" "$PGDATA.evidence.$(date +%s)"')
    return [
        keep,
        _on(act.site, f'$PGBIN/pg_rewind -D "$PGDATA" --source-server="{source}" -P'),
    ], "`Done!`, or `no rewind required`"


def _reseed(act: acts.Reseed, plan: Plan) -> Told:
    source = f"host={_host(act.upstream)} user=repl sslmode=verify-ca"
    away = _on(act.site, 'mv "$PGDATA" "$PGDATA.evidence.$(date +%s)"')
    slot = act.site.replace("-", "_")
    return [
        away,
        _on(act.site, f'$PGBIN/pg_basebackup -d "{source}" -D "$PGDATA" -X stream -c fast -S {slot} -R'),
    ], "exit status 0"


def _stop(act: acts.Stop, plan: Plan) -> Told:
    stop = _on(act.site, f'systemctl disable postgresql flotilla-agent; $PGBIN/pg_ctl -D "$PGDATA" -w -m {act.mode} stop')
    return [stop, _on(act.site, '$PGBIN/pg_ctl -D "$PGDATA" status')], "`no server running`, and none starts after a reboot"


def _start(act: acts.Start, plan: Plan) -> Told:
    signal = 'test -e "$PGDATA/standby.signal"' if act.role == "standby" else 'test ! -e "$PGDATA/standby.signal"'
    start = f'{signal} && $PGBIN/pg_ctl -D "$PGDATA" -w -o "-c hba_file=$HBA" start'
    wanted = "t" if act.role == "standby" else "f"
    return [_on(act.site, start), *_sql(act.site, "SELECT pg_is_in_recovery()")], f"`{wanted}`"


def _promote(act: acts.Promote, plan: Plan) -> Told:
    row = f"UPDATE flotilla.epoch SET epoch = {plan.epoch}, primary_site = '{act.site}', at = now()"
    seen = "SELECT pg_is_in_recovery(), pg_walfile_name(pg_current_wal_lsn())"
    commands = _sql(act.site, "SHOW synchronous_standby_names", f"SELECT pg_promote(true, {act.timeout:g})", row, seen)
    return commands, f"an empty list, `t`, `UPDATE 1`, `f` and a timeline one above that of {act.origin}"


def _stop_proved(act: goals.StopProved, plan: Plan) -> Told:
    control = _on(act.site, '$PGBIN/pg_controldata "$PGDATA" | grep -E "cluster state|Latest checkpoint location"')
    received = _sql(act.receiver, "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()")
    return [control, *received], f"`shut down`, and both positions of {act.receiver} above that checkpoint"


def _fenced(act: goals.Fenced, plan: Plan) -> Told:
    probe = f'psql -X -h {_host(act.site)} -d "$DB" -c "CREATE TEMP TABLE probe()"; echo $?'
    told = f"not 0, from two places; or {act.wait:g} s over since the others keep to the new epoch; or its power is off"
    return [probe], told


def _most_advanced(act: goals.MostAdvanced, plan: Plan) -> Told:
    seen = "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
    others = [act.site] if plan.glass else sorted({one.site for step in plan.steps for one in step.acts} - {act.origin})
    return [command for site in others for command in _sql(site, seen)], f"{act.site} has no less than the others"


def _traffic(act: acts.SetTraffic, plan: Plan) -> Told:
    sets = [
        {
            "name": record.name,
            "type": record.type,
            "ttl": record.ttl,
            "changetype": "REPLACE",
            "records": [{"content": record.content, "disabled": False}],
        }
        for record in records(act, plan.epoch)
    ]
    url = f"http://127.0.0.1:8081/api/v1/servers/localhost/zones/{act.zone}"
    send = f"ssh root@{_host(act.site)} curl -sf -X PATCH -H \"X-API-Key: $PDNS_KEY\" {url} -d @- <<'JSON'"
    ask = f"dig +short TXT _epoch.{act.name}.{act.zone} @{_host(act.site)}"
    return [send, json.dumps({"rrsets": sets}), "JSON", ask], f"`{epoch_text(act, plan.epoch)}`"


def _scale(act: Act, plan: Plan) -> Told:
    count = "$REPLICAS" if isinstance(act, acts.ScaleUp) else "0"
    return [f"kubectl --context {act.site} -n $NAMESPACE scale deployment $DEPLOYMENTS --replicas={count}"], "scaled"


def _ready(act: Act, plan: Plan) -> Told:
    return [f"kubectl --context {act.site} -n $NAMESPACE rollout status deployment"], "successfully rolled out"


def _in_sync(act: Any, plan: Plan) -> Told:
    seen = _sql(act.site, "SELECT application_name, state, sync_state FROM pg_stat_replication")
    return seen, f"{', '.join(act.names)}: streaming, one of them sync"


def _writable(act: Act, plan: Plan) -> Told:
    probe = f"BEGIN; UPDATE flotilla.epoch SET at = now() WHERE primary_site = '{act.site}'; COMMIT"
    return _sql(act.site, "SELECT epoch, primary_site FROM flotilla.epoch", probe), f"{act.site}, `UPDATE 1`, within a second"


def _verified(act: goals.Verified, plan: Plan) -> Told:
    asked = [f"dig +short orders.fleet.test. @{_host(site)}" for site in act.authorised]
    return [*_writable(act, plan)[0], *asked], f"writes at {act.site}; addresses of {', '.join(act.authorised)}, and no other"


def _caught_up(act: goals.CaughtUp, plan: Plan) -> Told:
    here = _sql(act.origin, "SELECT pg_current_wal_flush_lsn()")
    return [*here, *_sql(act.site, "SELECT pg_last_wal_replay_lsn()")], "the second is no less than the first"


def _quarantined(act: Act, plan: Plan) -> Told:
    return [*_stop(acts.Stop(act.site), plan)[0], *_sql(act.site, "SELECT pg_is_in_recovery()")], "no answer, or `t`"


def _simple(*statements: str, expect: str) -> Callable[[Any, Plan], Told]:
    return lambda act, plan: (_sql(act.site, *statements), expect)


def _slots(act: acts.CreateSlots, plan: Plan) -> Told:
    made = [f"SELECT pg_create_physical_replication_slot('{name.replace('-', '_')}', true)" for name in act.names]
    return _sql(act.site, *made, "SELECT slot_name, wal_status FROM pg_replication_slots"), "each of them, `reserved`"


def _drops(act: acts.DropSlots, plan: Plan) -> Told:
    names = ", ".join(f"'{name.replace('-', '_')}'" for name in act.names)
    drop = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ({names}) AND NOT active"
    return _sql(act.site, drop), "what is active follows through it: leave that"


def _detach(act: Act, plan: Plan) -> Told:
    gone = _sql(act.site, "SELECT count(*) FROM pg_stat_wal_receiver")
    return [*_setting(act.site, "primary_conninfo", ""), *gone], "0"


def _stable(act: goals.Stable, plan: Plan) -> Told:
    seen = f"SELECT flush_lsn, flush_lag FROM pg_stat_replication WHERE application_name = '{act.site}'"
    return _sql(act.upstream, seen), f"streams, at most {act.lag} bytes behind, for {act.seconds:g} s"


_COMMANDS: dict[str, Callable[[Any, Plan], Told]] = {
    "begin": _begin,
    "break_glass": _begin,
    "fence": _fence,
    "unfence": _unfence,
    "drain": _drain,
    "undrain": lambda act, plan: (_setting(act.site, "default_transaction_read_only", "off"), "`off`"),
    "checkpoint": _simple("CHECKPOINT", "SELECT timeline_id FROM pg_control_checkpoint()", expect="the timeline of now"),
    "set_sync": lambda act, plan: (
        _setting(act.site, "synchronous_standby_names", sync_setting(act.names)),
        f"`{sync_setting(act.names)}`",
    ),
    "create_slots": _slots,
    "drop_slots": _drops,
    "follow": _follow,
    "detach": _detach,
    "resume_replay": _simple("SELECT pg_wal_replay_resume()", "SELECT pg_get_wal_replay_pause_state()", expect="`not paused`"),
    "stop": _stop,
    "start": _start,
    "promote": _promote,
    "rewind": _rewind,
    "reseed": _reseed,
    "set_traffic": _traffic,
    "take_lease": _lease,
    "release_lease": _lease,
    "publish": _lease,
    "scale_up": _scale,
    "scale_down": _scale,
    "rejoin": _rejoin,
    "caught_up": _caught_up,
    "stop_proved": _stop_proved,
    "fenced": _fenced,
    "most_advanced": _most_advanced,
    "following": _following,
    "stable": _stable,
    "in_sync": _in_sync,
    "writable": _writable,
    "ready": _ready,
    "quarantined": _quarantined,
    "verified": _verified,
}
