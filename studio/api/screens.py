"""The small pages before the doors: log in, log out, the first account, and the wrong door.

Plain HTML without any script, so that they work before anybody is known and under the strictest policy.
Every value is escaped by ``Markup.format``.
"""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import HTMLResponse

from studio.core import Actor, StudioError

_PAGE = Markup(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Tandem</title>
<link rel="icon" href="/favicon.ico">
<link rel="stylesheet" href="/assets/door.css">
</head>
<body>
<main>
<p class="mark"><svg viewBox="0 0 34 20" width="34" height="20" aria-hidden="true">
<circle class="a" cx="11" cy="10" r="8"/><circle class="b" cx="23" cy="10" r="8"/></svg>Tandem</p>
<section>
<h1>{title}</h1>
{body}
</section>
</main>
</body>
</html>
"""
)
_PROBLEM = Markup('<p class="problem" role="alert">{}</p>\n')
_LOG_IN = Markup(
    """{problem}<form method="post" action="/login">
<label for="name">Name</label>
<input id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false"
 maxlength="40" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<input type="hidden" name="next" value="{target}">
<button type="submit">Log in</button>
</form>
{elsewhere}"""
)
_ELSEWHERE = Markup('<a class="button quiet" href="/oidc/login?next={}">Log in with {}</a>')
_SET_UP = Markup(
    """<p>So far the studio belongs to whoever sits at this machine. With a first account, an admin's,
everyone has to log in, and others can be given accounts of their own.</p>
{problem}<form method="post" action="/setup">
<label for="name">Name</label>
<input id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false"
 maxlength="40" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="new-password" aria-describedby="rule"
 required>
<p class="hint" id="rule">At least 12 characters.</p>
<label for="again">Password, once more</label>
<input id="again" name="again" type="password" autocomplete="new-password" required>
<button type="submit">Make the first account</button>
</form>
<a class="button quiet" href="/">Not now</a>"""
)
_LOG_OUT = Markup(
    """<p>{who}</p>
<form method="post" action="/logout"><button type="submit">Log out</button></form>
<a class="button quiet" href="/">Stay</a>"""
)
_WRONG_DOOR = Markup(
    """<p>You are logged in as {name}, who is {role}; this part of the studio is for others.</p>
<a class="button" href="{home}">Go to your part</a>
<a class="button quiet" href="/logout">Log in as somebody else</a>"""
)
_SENTENCE = Markup('{problem}<a class="button" href="{target}">{label}</a>')


def _page(title: str, body: Markup, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, headers)


def log_in(
    *,
    target: str,
    provider: str,
    name: str = "",
    error: StudioError | None = None,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    """The log-in form; ``provider`` is the identity provider's host name, empty without one."""
    elsewhere = _ELSEWHERE.format(target, provider) if provider else Markup("")
    body = _LOG_IN.format(problem=_problem(error), name=name, target=target, elsewhere=elsewhere)
    return _page("Log in", body, _status(error), headers)


def set_up(*, name: str = "", error: StudioError | None = None) -> HTMLResponse:
    """The form for the first account."""
    return _page("Add the first account", _SET_UP.format(problem=_problem(error), name=name), _status(error))


def log_out(who: str) -> HTMLResponse:
    """The question whether to log out, for whoever followed a link to it."""
    sentence = f"You are logged in as {who}." if who else "Nobody is logged in."
    return _page("Log out", _LOG_OUT.format(who=sentence))


def wrong_door(actor: Actor, home: str) -> HTMLResponse:
    """What somebody reads whose role is not for this door."""
    body = _WRONG_DOOR.format(name=actor.name, role=_with_article(actor.role), home=home)
    return _page("This is another door", body, 403)


def sorry(title: str, error: StudioError, *, target: str = "/login", label: str = "Log in") -> HTMLResponse:
    """An error that ends an attempt, with a way on."""
    body = _SENTENCE.format(problem=_problem(error), target=target, label=label)
    return _page(title, body, error.status)


def please_wait(title: str, sentence: str) -> HTMLResponse:
    """A page that asks for itself again every second, until something else answers there."""
    return _page(title, Markup("<p>{}</p>").format(sentence), 503, {"Refresh": "1", "Retry-After": "1"})


def _problem(error: StudioError | None) -> Markup:
    return _PROBLEM.format(" ".join(str(error).splitlines())) if error else Markup("")


def _status(error: StudioError | None) -> int:
    return error.status if error else 200


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
