"""The commands that do by hand what an act does, or show that it is so, and what to expect of them.

They are shown, never run from here. What they use of functions and variables stands in the runbook's head (``preamble``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flotilla.node.config import slot_of
from flotilla.node.hba import OBSERVER, OPERATOR, REPLICATION, REWIND, ROLES
from flotilla.recovery import acts, goals
from flotilla.recovery.acts import Act
from flotilla.recovery.bodies import epoch_text, records, sync_setting
from flotilla.recovery.steps import Mode, Plan
from flotilla.traffic.service import PATH

Told = tuple[list[str], str]


def told(act: Act, plan: Plan) -> Told:
    """Return the commands that do an act, or show that it is so, and what to expect of them."""
    return _COMMANDS[act.kind](act, plan)


def _sql(site: str, *statements: str) -> list[str]:
    return [f"sql {site} <<'SQL'", *(f"{statement};" for statement in statements), "SQL"]


def _on(site: str, *lines: str, user: str = "") -> list[str]:
    return [f"as_user {user} {site} <<'SH'" if user else f"on {site} <<'SH'", *lines, "SH"]


def _setting(site: str, name: str, value: str) -> list[str]:
    return [f"setting {site} {name} '{value}'"]


def _psql(statement: str) -> str:
    return f'"$PGBIN/psql" -qAtX -h "$RUN" -p "$PORT" -U {OPERATOR} -d "$DB" -c "{statement}"'


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
    commands = [*_alone(act.site), f"remember {act.site} epoch {plan.epoch}", f"remember {act.site} run '\"by-hand\"'"]
    told = f"`inactive`: nothing acts here but you, and PostgreSQL runs as before. Your epoch is {plan.epoch}: write it down"
    return commands, told


def _alone(site: str) -> list[str]:
    """Return what ends an agent and its guard, which would stop a primary soon after its agent fell silent (node_guard).

    The guard sleeps first: an agent that lives begins another one, and one that is slow to end must not be taken for dead.
    """
    return _on(
        site,
        'guard=$(cat "$STATE/guard.lock" || true)',
        'flock -n "$STATE/guard.lock" true || kill -STOP "$guard"',
        "systemctl disable --now flotilla-agent",
        'flock -n "$STATE/guard.lock" true || kill -KILL "$guard"',
        "systemctl is-active flotilla-agent || true",
        user="root",
    )


def _fence(act: Act, plan: Plan) -> Told:
    ours = ",".join(ROLES)
    inside = f"backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename <> ALL ('{{{ours}}}')"
    out = f"SELECT pid FROM pg_stat_activity WHERE {inside} AND wait_event IS DISTINCT FROM 'SyncRep'"
    kept = f"^(local all {OPERATOR}|hostssl replication {REPLICATION}|hostssl all {OBSERVER}) "
    nobody = "'local all all reject' 'host all all all reject' 'local replication all reject' 'host replication all all reject'"
    door = [  # beside the data: PostgreSQL's user makes no files in the agent's own folder
        'test -e "$PGDATA.pg_hba.before" || cp "$STATE/pg_hba.conf" "$PGDATA.pg_hba.before"',
        f"{{ grep -E '{kept}' \"$PGDATA.pg_hba.before\"; printf '%s\\n' {nobody}; }} > \"$STATE/pg_hba.conf\"",
        '"$PGBIN/pg_ctl" -D "$PGDATA" reload',
        f"for once in 1 2 3 4 5; do sleep 0.5; {_psql(out)} | xargs -r kill -TERM || true; done",
    ]
    again = f"SELECT count(*) FROM pg_stat_activity WHERE {inside}"
    return [*_on(act.site, *door), *_sql(act.site, again)], "0, or what is left waits for `SyncRep`: do not cancel that"


def _unfence(act: Act, plan: Plan) -> Told:
    back = [
        'test ! -e "$PGDATA.pg_hba.before" || cat "$PGDATA.pg_hba.before" > "$STATE/pg_hba.conf"',
        'rm -f "$PGDATA.pg_hba.before"',
        '"$PGBIN/pg_ctl" -D "$PGDATA" reload || true',
        'head -1 "$STATE/pg_hba.conf"',
    ]
    return _on(
        act.site, *back
    ), "`# open`: clients get in; if it is `# fenced`, put another site's pg_hba.conf there, and again"


def _drain(act: Act, plan: Plan) -> Told:
    left = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND backend_xid IS NOT NULL"
    return [*_setting(act.site, "default_transaction_read_only", "on"), *_sql(act.site, left)], "`on`, and 0 writers soon"


def _follow(act: Any, plan: Plan) -> Told:
    slot = slot_of(act.site)
    lines = f"\"primary_conninfo = '$LINK'\" \"primary_slot_name = '{slot}'\""
    commands = [
        f"LINK=$(link {act.site} {act.upstream} {REPLICATION})",
        f'if on {act.site} <<< \'"$PGBIN/pg_ctl" -D "$PGDATA" status >&2\'; then',
        f'setting {act.site} primary_slot_name {slot}; setting {act.site} primary_conninfo "$LINK"',
        f"else  # nothing that was copied with the data stays: it was set for another site\non {act.site} <<SH",
        f'printf \'%s\\n\' {lines} > "\\$PGDATA/postgresql.auto.conf"; touch "\\$PGDATA/standby.signal"',
        "SH\nfi",
    ]
    return commands, f"it is told to follow {act.upstream}"


def _following(act: Any, plan: Plan) -> Told:
    moves = _sql(act.site, "SELECT received_tli, pg_last_wal_replay_lsn() FROM pg_stat_wal_receiver")
    here = _sql(act.upstream, "SELECT pg_walfile_name(pg_current_wal_lsn()), pg_current_wal_flush_lsn()")
    return [
        *moves,
        "sleep 3",
        *moves,
        *(here if act.upstream != plan.target or plan.no_return is None else []),
    ], f"the same timeline as {act.upstream}, and a position that moves; a state proves nothing"


def _rejoin(act: goals.Rejoin, plan: Plan) -> Told:
    follow, start = _follow(act, plan)[0], _start(acts.Start(act.site), plan)[0]
    moves, expected = _following(act, plan)
    if act.site == plan.origin and plan.mode is Mode.GRACEFUL:
        return [
            "# It was stopped in order, and the other has its last checkpoint: it follows as it is",
            *follow,
            *start,
            *moves,
        ], expected
    *kept, rewind, go, end = _rewind(acts.Rewind(act.site, act.upstream), plan)[0]
    anew = [
        "# else: it must not run; a checkpoint there first, or the rewind goes wrong; evidence; then away with what nobody has",
        *_stop(acts.Stop(act.site), plan)[0],
        *_sql(act.upstream, "CHECKPOINT"),
        *(*kept, f"REWOUND=yes; {rewind} || REWOUND=no", go, end),
        "if [ $REWOUND = no ]; then",
        *_reseed(acts.Reseed(act.site, act.upstream), plan)[0],
        "fi",
    ]
    runs = f"if [ \"$(sql {act.site} <<< 'SELECT pg_is_in_recovery()' || true)\" != t ]; then"
    left = f"; if it does not move, have {act.site} stopped (pg_ctl stop), and do this again"
    return ["# a standby that runs is told whom to follow", runs, *anew, "fi", *follow, *start, *moves], expected + left


def _rewind(act: acts.Rewind, plan: Plan) -> Told:
    keep = 'cp -a "$PGDATA" "$PGDATA.evidence.$(date +%s)"'
    source = "--config-file=\"\\$STATE/postgresql.conf\" --source-server='$LINK dbname=postgres'"
    go = f'"\\$PGBIN/pg_rewind" -D "\\$PGDATA" {source} -P'
    commands = [*_on(act.site, keep), f"LINK=$(link {act.site} {act.upstream} {REWIND})", f"on {act.site} <<SH", go, "SH"]
    return commands, "`Done!`, or `no rewind required`"


def _reseed(act: acts.Reseed, plan: Plan) -> Told:
    away = 'mv "$PGDATA" "$PGDATA.evidence.$(date +%s)"'
    go = f'"\\$PGBIN/pg_basebackup" -d \'$LINK\' -D "\\$PGDATA" -X stream -c fast -S {slot_of(act.site)}'
    commands = [*_on(act.site, away), f"LINK=$(link {act.site} {act.upstream} {REPLICATION})", f"on {act.site} <<SH", go, "SH"]
    return commands, "exit status 0"


def _stop(act: acts.Stop, plan: Plan) -> Told:
    first = [] if act.caught_up else _alone(act.site)
    ended = [
        '"$PGBIN/pg_ctl" -D "$PGDATA" status >&2 || exit 0',
        f'"$PGBIN/pg_ctl" -D "$PGDATA" -w -m {act.mode} stop',
    ]
    commands = [*first, f"remember {act.site} autostart false", *_on(act.site, *ended)]
    return commands, "`server stopped`, or `no server running`"


def _start(act: acts.Start, plan: Plan) -> Told:
    signal = 'test -e "$PGDATA/standby.signal"' if act.role == "standby" else 'test ! -e "$PGDATA/standby.signal"'
    begin = '-w -l "$PGDATA.by-hand.log" -o "-c config_file=$STATE/postgresql.conf" start'
    run = f'"$PGBIN/pg_ctl" -D "$PGDATA" status >&2 || "$PGBIN/pg_ctl" -D "$PGDATA" {begin}'
    told = [f"remember {act.site} autostart true"]
    told += [f"remember {act.site} primary_epoch {plan.epoch}"] if act.role == "primary" else []
    wanted = "t" if act.role == "standby" else "f"
    return [*_on(act.site, signal, run), *told, *_sql(act.site, "SELECT pg_is_in_recovery()")], f"`{wanted}`"


def _promote(act: acts.Promote, plan: Plan) -> Told:
    row = f"UPDATE flotilla.epoch SET epoch = {plan.epoch}, primary_site = '{act.site}', at = now()"
    now = f"SELECT CASE WHEN pg_is_in_recovery() THEN pg_promote(true, {act.timeout:g}) ELSE true END"
    seen = "SELECT pg_is_in_recovery(), pg_walfile_name(pg_current_wal_lsn())"
    told = [f"remember {act.site} primary_epoch {plan.epoch}", f"remember {act.site} autostart true"]
    waits = ("BEGIN READ WRITE", "SET LOCAL synchronous_commit = local", row, "COMMIT")
    commands = [*told, *_sql(act.site, "SHOW synchronous_standby_names", now), *_sql(act.site, *waits, seen)]
    return commands, f"an empty line, `t`, `f` and a timeline one above that of {act.origin}"


def _stop_proved(act: goals.StopProved, plan: Plan) -> Told:
    control = _on(act.site, '"$PGBIN/pg_controldata" "$PGDATA" | grep -E "cluster state|Latest checkpoint location"')
    received = _sql(act.receiver, "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()")
    return [*control, *received], f"`shut down`, and both positions of {act.receiver} above that checkpoint"


def _fenced(act: goals.Fenced, plan: Plan) -> Told:
    probe = f'(site {act.site} && pg_isready -h "$HOST" -p "$PORT" -t 3 || true)'
    alone = f"or {act.wait:g} s are over since the agents elsewhere were stopped, and its own was not: alone, that stops it"
    return [probe], f"`no response`, from two places, and its power is off; {alone}"


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
    send = f"curl -sf -X PATCH -H 'X-API-Key: $PDNS_KEY' {url} -d @-"
    ask = f'(site {act.site} && dig +short TXT "_epoch.$NAME" "@$DNS")'
    commands = [f'(site {act.site} && ssh "root@$NODE" "{send}") <<\'JSON\'', json.dumps({"rrsets": sets}), "JSON", ask]
    return commands, f"`{epoch_text(act, plan.epoch)}`"


def _scale(act: Act, plan: Plan) -> Told:
    count = "$REPLICAS" if isinstance(act, acts.ScaleUp) else "0"
    return [f'kubectl --context {act.site} -n "$NAMESPACE" scale $DEPLOYMENTS --replicas={count}'], "scaled"


def _ready(act: Act, plan: Plan) -> Told:
    waits = f'kubectl --context {act.site} -n "$NAMESPACE" rollout status "$one"'
    return [f"for one in $DEPLOYMENTS; do {waits}; done"], "successfully rolled out"


def _in_sync(act: Any, plan: Plan) -> Told:
    seen = _sql(act.site, "SELECT application_name, state, sync_state FROM pg_stat_replication")
    return seen, f"{', '.join(act.names)}: streaming, one of them sync"


def _writable(act: Act, plan: Plan) -> Told:
    probe = ("BEGIN", f"UPDATE flotilla.epoch SET at = now() WHERE primary_site = '{act.site}'", "COMMIT")
    seen = "SELECT epoch, primary_site, now() - at FROM flotilla.epoch"
    return _sql(act.site, *probe, seen), f"{plan.epoch}, {act.site}, and less than a second: it was written just now"


def _verified(act: goals.Verified, plan: Plan) -> Told:
    asked = [f'(site {site} && dig +short "$NAME" "@$DNS")' for site in act.authorised]
    return [*_writable(act, plan)[0], *asked], f"writes at {act.site}; addresses of {', '.join(act.authorised)}, and no other"


def _served(act: goals.Served, plan: Plan) -> Told:
    urls = [f"http://{address}:{act.port}{PATH}" for address in act.addresses]
    asked = [f"curl -s -o /dev/null -w '%{{http_code}}\\n' -m 2 {url} || true" for url in urls]
    return asked, "200 at one of them at least: users are served there"


def _caught_up(act: goals.CaughtUp, plan: Plan) -> Told:
    here = _sql(act.origin, "SELECT pg_current_wal_flush_lsn()")
    return [*here, *_sql(act.site, "SELECT pg_last_wal_replay_lsn()")], "the second is no less than the first"


def _quarantined(act: Act, plan: Plan) -> Told:
    seen = f"sql {act.site} <<< 'SELECT pg_is_in_recovery()' || echo 'no answer'"
    stop = f"if [ \"$(sql {act.site} <<< 'SELECT pg_is_in_recovery()' || true)\" = f ]; then"
    return [stop, *_stop(acts.Stop(act.site), plan)[0], "fi", seen], "`no answer`, or `t`"


def _simple(*statements: str, expect: str) -> Callable[[Any, Plan], Told]:
    return lambda act, plan: (_sql(act.site, *statements), expect)


def _slots(act: acts.CreateSlots, plan: Plan) -> Told:
    names = [slot_of(name) for name in act.names]
    made = [
        f"SELECT pg_create_physical_replication_slot('{name}', true) "
        f"WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}')"
        for name in names
    ]
    return _sql(act.site, *made, "SELECT slot_name, wal_status FROM pg_replication_slots"), "each of them, `reserved`"


def _drops(act: acts.DropSlots, plan: Plan) -> Told:
    names = ", ".join(f"'{slot_of(name)}'" for name in act.names)
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
    "served": _served,
}
