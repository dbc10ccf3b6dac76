"""The tree of commands, as ``bootstrap`` gets it."""

from __future__ import annotations

import typer

from interlock.doors.cli.calling import Caller
from interlock.doors.cli.commands import (
    audit,
    flows,
    keys,
    machines,
    models,
    nodes,
    reading,
    secrets,
    serving,
    sessions,
    starting,
    steering,
    tenants,
    users,
    webhooks,
    workers,
)
from interlock.doors.cli.grouped import GroupedCommands
from interlock.doors.cli.options import (
    ACCESS_PANEL,
    PROGRAM_PANEL,
    SERVER_PANEL,
    STEERING_PANEL,
    WORKFLOW_PANEL,
    examples,
)
from interlock.doors.cli.programs import Programs
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds

_EXECUTION = "01990000-0000-7000-8000-000000000001"


def build(programs: Programs) -> typer.Typer:
    """The command line over these programs. Exits with 0 if all went well, 1 after a failure, 2 if called wrongly."""
    app = typer.Typer(
        name=serving.PROGRAM,
        help="Interlock: durable workflows, watched live, with people asked before it matters.",
        cls=GroupedCommands,
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"obj": Caller(programs, SystemClock(), RandomIds()), "help_option_names": ["-h", "--help"]},
    )
    _add_server_commands(app)
    _add_looking_commands(app)
    _add_flow_commands(app)
    _add_session_commands(app)
    _add_steering_commands(app)
    _add_user_commands(app)
    _add_access_commands(app)
    _add_model_commands(app)
    _add_webhook_commands(app)
    _add_program_commands(app)
    return app


def _add_server_commands(app: typer.Typer) -> None:
    add = app.command
    add(rich_help_panel=SERVER_PANEL, epilog=examples("up", "up --local --port 8080 --data ./data"))(serving.up)
    add(rich_help_panel=SERVER_PANEL, epilog=examples("serve", "serve --host 0.0.0.0 --workers 4"))(serving.serve)
    add(
        rich_help_panel=SERVER_PANEL,
        epilog=examples(
            "start --head --port 8000",
            "start --head --host 10.0.0.5 --executor ray --ray-head-port 6379",
            "start --worker --addr 10.0.0.5:8000 --auth-file ray-token",
        ),
    )(machines.start)
    add(rich_help_panel=SERVER_PANEL, epilog=examples("stop", "stop --data ./data --json"))(machines.stop)
    _add_worker_commands(app)
    add(rich_help_panel=SERVER_PANEL, epilog=examples("demo", "demo --data ./demo-data"))(serving.demo)
    add(rich_help_panel=SERVER_PANEL, epilog=examples("migrate", "migrate status --json"))(serving.migrate)
    add(rich_help_panel=SERVER_PANEL, epilog=examples("doctor", "doctor --json"))(serving.doctor)
    add(
        rich_help_panel=SERVER_PANEL,
        epilog=examples("health", "health https://interlock.example --ready"),
    )(reading.health)


def _add_worker_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="This machine as a worker of a head.", rich_markup_mode=None, no_args_is_help=True)
    group.command(
        epilog=examples("worker join --addr 10.0.0.5:8000 --auth-file ray-token", "worker join --num-cpus 8 --json")
    )(machines.join)
    app.add_typer(group, name="worker", rich_help_panel=SERVER_PANEL)
    listed = typer.Typer(help="The machines that tasks run on.", rich_markup_mode=None, no_args_is_help=True)
    listed.command("list", epilog=examples("workers list", "workers list --json"))(workers.list_workers)
    listed.command(epilog=examples("workers show local-1", "workers show ray-4f0c1d2e3a5b --json"))(workers.show)
    listed.command(epilog=examples("workers drain ray-4f0c1d2e3a5b --grace 60"))(workers.drain)
    app.add_typer(listed, name="workers", rich_help_panel=STEERING_PANEL)


def _add_looking_commands(app: typer.Typer) -> None:
    add = app.command
    add(
        rich_help_panel=WORKFLOW_PANEL,
        epilog=examples(
            "run flow.yaml", "run graph.yaml --input '{\"n\": 3}' --watch", "run graph.yaml --input @input.json"
        ),
    )(starting.run)
    add(
        rich_help_panel=WORKFLOW_PANEL,
        epilog=examples("validate graph.yaml", "validate graph.yaml --json", "validate graph.yaml --server"),
    )(starting.validate)
    add(
        "list",
        rich_help_panel=WORKFLOW_PANEL,
        epilog=examples("list", "list --status active", "list --limit 100 --json"),
    )(reading.list_executions)
    add(
        rich_help_panel=WORKFLOW_PANEL,
        epilog=examples(f"show {_EXECUTION}", f"show {_EXECUTION} --events 0", f"show {_EXECUTION} --json"),
    )(reading.show)
    add(
        rich_help_panel=WORKFLOW_PANEL,
        epilog=examples(f"watch {_EXECUTION}", f"watch {_EXECUTION} --json | jq .type"),
    )(reading.watch)
    add(
        rich_help_panel=WORKFLOW_PANEL,
        epilog=examples(f"artifacts {_EXECUTION}", f"artifacts {_EXECUTION} --save ./out"),
    )(reading.artifacts)


def _add_flow_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Flows that clients start by their id.", rich_markup_mode=None, no_args_is_help=True)
    group.command(epilog=examples("flows register order.yaml", "flows register order.yaml --id orders-2 --json"))(
        flows.register
    )
    group.command("list", epilog=examples("flows list", "flows list --json"))(flows.list_flows)
    group.command(epilog=examples("flows show order", "flows show order --json | jq .transitions"))(flows.show)
    group.command(epilog=examples("flows graph order", "flows graph order --json"))(flows.graph)
    app.add_typer(group, name="flows", rich_help_panel=WORKFLOW_PANEL)
    _add_node_commands(app)


def _add_node_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Nodes that flows can run.", rich_markup_mode=None, no_args_is_help=True)
    group.command(
        epilog=examples(
            "nodes register pricing https://svc.example/price",
            "nodes register pricing https://svc.example/price --timeout 600 --rotate",
        )
    )(nodes.register)
    group.command("list", epilog=examples("nodes list", "nodes list --json"))(nodes.list_nodes)
    group.command(epilog=examples("nodes delete pricing"))(nodes.delete)
    app.add_typer(group, name="nodes", rich_help_panel=WORKFLOW_PANEL)


def _add_session_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Sessions of flows.", rich_markup_mode=None, no_args_is_help=True)
    group.command(
        epilog=examples(
            "sessions start order --params '{\"amount\": 150}'",
            'sessions start --node echo --params \'{"input": "hi"}\' --json',
        )
    )(sessions.start)
    group.command(
        epilog=examples(
            f"sessions event {_EXECUTION} USER_CONFIRM",
            f'sessions event {_EXECUTION} USER_CONFIRM --payload \'{{"by": "ann"}}\' --expect confirm',
        )
    )(sessions.event)
    group.command(epilog=examples(f"sessions state {_EXECUTION}", f"sessions state {_EXECUTION} --json"))(
        sessions.state
    )
    group.command(
        epilog=examples(f"sessions blackboard {_EXECUTION}", f"sessions blackboard {_EXECUTION} result:confirm --json")
    )(sessions.blackboard)
    group.command(epilog=examples(f"sessions stop {_EXECUTION}"))(sessions.stop)
    app.add_typer(group, name="sessions", rich_help_panel=WORKFLOW_PANEL)


def _add_steering_commands(app: typer.Typer) -> None:
    add = app.command
    add(rich_help_panel=STEERING_PANEL, epilog=examples("approvals", "approvals --status all"))(reading.approvals)
    add(
        rich_help_panel=STEERING_PANEL,
        epilog=examples(f"approve {_EXECUTION}", f"approve {_EXECUTION} --edit '{{\"amount\": 90}}' --reason 'less'"),
    )(steering.approve)
    add(rich_help_panel=STEERING_PANEL, epilog=examples(f"deny {_EXECUTION} --reason 'too much'"))(steering.deny)
    add(
        rich_help_panel=STEERING_PANEL,
        epilog=examples(
            f"signal {_EXECUTION} PAID",
            f'signal {_EXECUTION} PAID --payload \'{{"receipt": "r-1"}}\' --expect payment',
        ),
    )(steering.signal)
    add(rich_help_panel=STEERING_PANEL, epilog=examples(f"cancel {_EXECUTION} --reason 'not needed'"))(steering.cancel)
    add(rich_help_panel=STEERING_PANEL, epilog=examples(f"pause {_EXECUTION}"))(steering.pause)
    add(rich_help_panel=STEERING_PANEL, epilog=examples(f"resume {_EXECUTION}"))(steering.resume)


def _add_access_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="API keys for programs.", rich_markup_mode=None, no_args_is_help=True)
    group.command(
        epilog=examples("keys create ci --scope workflows:execute --scope executions:read --days 90"),
    )(keys.create)
    group.command("list", epilog=examples("keys list", "keys list --state active --search ci", "keys list --json"))(
        keys.list_keys
    )
    group.command(epilog=examples("keys rotate 4fQz81LmTx0a --grace 3600"))(keys.rotate)
    group.command(epilog=examples("keys revoke 4fQz81LmTx0a"))(keys.revoke)
    app.add_typer(group, name="keys", rich_help_panel=ACCESS_PANEL)
    _add_tenant_commands(app)
    sealing = typer.Typer(help="Keys that seal stored secrets.", rich_markup_mode=None, no_args_is_help=True)
    sealing.command("list", epilog=examples("secrets list", "secrets list --data ./data --json"))(secrets.list_keys)
    sealing.command(epilog=examples("secrets rotate --data ./data"))(secrets.rotate)
    app.add_typer(sealing, name="secrets", rich_help_panel=ACCESS_PANEL)
    app.command(
        rich_help_panel=ACCESS_PANEL,
        epilog=examples("audit", "audit --outcome refused --since 2026-11-22T00:00Z", "audit --actor ann --json"),
    )(audit.audit)


def _add_model_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Models and their prices.", rich_markup_mode=None, no_args_is_help=True)
    group.command("list", epilog=examples("models list", "models list --json"))(models.list_models)
    group.command(epilog=examples("models price qwen-max"))(models.price)
    app.add_typer(group, name="models", rich_help_panel=ACCESS_PANEL)
    budgets = typer.Typer(help="What may be spent on models.", rich_markup_mode=None, no_args_is_help=True)
    budgets.command("list", epilog=examples("budgets list", "budgets list --tenant acme --json"))(models.list_budgets)
    budgets.command("set", epilog=examples("budgets set tenant 50", "budgets set 4fQz81LmTx0a 2.5 --tenant acme"))(
        models.set_budget
    )
    budgets.command("remove", epilog=examples("budgets remove 4fQz81LmTx0a"))(models.remove_budget)
    app.add_typer(budgets, name="budgets", rich_help_panel=ACCESS_PANEL)


def _add_tenant_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Tenants of the installation.", rich_markup_mode=None, no_args_is_help=True)
    group.command("list", epilog=examples("tenants list", "tenants list --state disabled --json"))(tenants.list_tenants)
    group.command(epilog=examples("tenants show acme"))(tenants.show)
    group.command(epilog=examples("tenants create acme --title 'Acme Ltd.'"))(tenants.create)
    group.command(epilog=examples("tenants disable acme"))(tenants.disable)
    group.command(epilog=examples("tenants enable acme"))(tenants.enable)
    app.add_typer(group, name="tenants", rich_help_panel=ACCESS_PANEL)


def _add_program_commands(app: typer.Typer) -> None:
    add = app.command
    add(rich_help_panel=PROGRAM_PANEL, epilog=examples("token", "token --data ./data"))(serving.token)
    add(rich_help_panel=PROGRAM_PANEL, epilog=examples("version", "version --json"))(serving.version)
    completion = typer.Typer(
        help="Completion of commands and options in a shell.", rich_markup_mode=None, no_args_is_help=True
    )
    completion.command("show", epilog=examples("completion show bash"))(serving.completion_show)
    completion.command("install", epilog=examples("completion install"))(serving.completion_install)
    app.add_typer(completion, name="completion", rich_help_panel=PROGRAM_PANEL)


def _add_user_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Accounts of the built-in directory.", rich_markup_mode=None, no_args_is_help=True)
    group.command(epilog=examples("users create ann@example.org --role admin --tenant acme"))(users.create)
    group.command(
        "list",
        epilog=examples(
            "users list --tenant acme", "users list --role admin --search @example.org", "users list --json"
        ),
    )(users.list_users)
    group.command(epilog=examples("users confirm ann@example.org"))(users.confirm)
    group.command(epilog=examples("users role ann@example.org viewer"))(users.role)
    group.command(epilog=examples("users password ann@example.org"))(users.password)
    group.command(epilog=examples("users disable ann@example.org"))(users.disable)
    group.command(epilog=examples("users enable ann@example.org"))(users.enable)
    app.add_typer(group, name="users", rich_help_panel=ACCESS_PANEL)


def _add_webhook_commands(app: typer.Typer) -> None:
    group = typer.Typer(help="Messages to other systems about events.", rich_markup_mode=None, no_args_is_help=True)
    group.command(
        epilog=examples(
            "webhooks create https://svc.example/hook --event 'execution.*'",
            "webhooks create https://svc.example/hook --event approval.requested --json",
        )
    )(webhooks.create)
    group.command("list", epilog=examples("webhooks list", "webhooks list --json"))(webhooks.list_webhooks)
    group.command(epilog=examples(f"webhooks show {_EXECUTION}", f"webhooks show {_EXECUTION} --json"))(webhooks.show)
    group.command(epilog=examples(f"webhooks enable {_EXECUTION}"))(webhooks.enable)
    group.command(epilog=examples(f"webhooks disable {_EXECUTION}"))(webhooks.disable)
    group.command("rotate-secret", epilog=examples(f"webhooks rotate-secret {_EXECUTION}"))(webhooks.rotate_secret)
    group.command(epilog=examples(f"webhooks deliveries {_EXECUTION} --status failed"))(webhooks.deliveries)
    group.command(epilog=examples(f"webhooks redeliver {_EXECUTION}"))(webhooks.redeliver)
    group.command(epilog=examples(f"webhooks delete {_EXECUTION}"))(webhooks.delete)
    app.add_typer(group, name="webhooks", rich_help_panel=STEERING_PANEL)
