"""Which roles may call which endpoint of the pages: every event of every page has a line here.

``pages.components.wiring.listen`` refuses to build an event that is not in ``ROLES``, and checks the role
before the handler runs. An admin may call everything. This is the second of three locks: the path of a mount
is checked before it (studio.api), and each service method checks its actor after it.

A new event is one line: its ``api_name`` and one of the tuples below.
"""

from __future__ import annotations

from studio.core import EVERYONE, Role

#: Nobody but admins.
ADMINS: tuple[Role, ...] = ()
#: Who builds, trains and deploys.
RESEARCHERS = (Role.RESEARCHER,)
#: Who judges pairs.
LABELLERS = (Role.RESEARCHER, Role.ANNOTATOR)
#: Who talks to models and votes.
VOTERS = (Role.RESEARCHER, Role.STAKEHOLDER)

_FOR_EVERYONE = (
    "brand",
    # Account
    "account",
    "change_password",
    "change_password_enter",
    "create_token",
    "revoke_token",
)

_FOR_RESEARCHERS = (
    "home",
    "home_tick",
    # Data
    "data",
    "data_tick",
    "build_preferences",
    "join_versions",
    "import_file",
    "look_path",
    "look_enter",
    "look_upload",
    "pick_format",
    "share_dataset",
    # Annotate: opening and leading
    "open_project",
    "project_task",
    "project_source",
    "change_project",
    "close_project",
    "reopen_project",
    # Review
    "review",
    "review_tick",
    "review_decide",
    "review_dataset",
    "review_import",
    # Train
    "train",
    "train_tick",
    "train_look",
    "choose_stage",
    "choose_dataset",
    "choose_dataset_in",
    "fill_preset",
    "fill_preset_in",
    "own_values",
    "use_change",
    "switch_recipe",
    "sample_recipe",
    "preflight_asked",
    "preflight_check",
    "preflight_tick",
    *(f"token_{what}" for what in ("split", "source", "search", "row", "before", "after")),
    "start_run",
    # Runs
    "runs",
    "runs_tick",
    "act_on_queue",
    "act_on_run",
    "act_on_checkpoint",
    # Sweeps
    "sweeps",
    "sweeps_tick",
    "act_on_sweep",
    "sweep_form",
    "sweep_stage",
    "sweep_outlook",
    "sweep_outlook_arrived",
    "sweep_outlook_stage",
    "start_sweep",
    # Models
    "models",
    "models_tick",
    "share_model",
    "register_base",
    "name_model",
    "name_model_enter",
    # Deploy
    "deploy",
    "deploy_tick",
    "variants",
    "deploy_variants",
    "deploy_made",
    "roll_back",
    "deploy_rolled",
    "ask_retire",
    "keep_deployment",
    "retire",
    "deploy_retired",
    "try_deployment",
    "try_deployment_enter",
    "try_thumb_up",
    "try_thumb_down",
)

_FOR_LABELLERS = (
    "annotate",
    "annotate_tick",
    "annotate_opened",
    *(f"annotate_changed_{number}" for number in range(3)),
)

_FOR_VOTERS = (
    "chat",
    "chat_room",
    "chat_source",
    *(f"chat_lineup_{number}" for number in range(10)),
    "chat_send",
    "chat_enter",
    "chat_stop",
    "chat_anew",
    *(f"chat_vote_{outcome}" for outcome in ("a", "b", "tie", "both_bad", "skip")),
    *(f"chat_thumb_{side}_{way}" for side in ("a", "b") for way in ("up", "down")),
)

_FOR_ADMINS = (
    "people",
    "add_person",
    "change_role",
    "reset_password",
    "disable_person",
    "ask_erase",
    "keep_person",
    "erase_person",
)

#: ``api_name`` to the roles that may call it; an admin always may.
ROLES: dict[str, tuple[Role, ...]] = {
    **dict.fromkeys(_FOR_EVERYONE, EVERYONE),
    **dict.fromkeys(_FOR_RESEARCHERS, RESEARCHERS),
    **dict.fromkeys(_FOR_LABELLERS, LABELLERS),
    **dict.fromkeys(_FOR_VOTERS, VOTERS),
    **dict.fromkeys(_FOR_ADMINS, ADMINS),
}


def allowed(api_name: str) -> tuple[Role, ...]:
    """The roles that may call the endpoint.

    Raises:
        LookupError: It is not declared; this is a fault of the page, found when it is built.
    """
    if api_name not in ROLES:
        raise LookupError(f"The event {api_name!r} has no roles: add it to pages/roles.py.")
    return ROLES[api_name]
