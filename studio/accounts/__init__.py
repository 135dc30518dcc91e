"""Who may come in: accounts with roles, sessions in the browser, and tokens for programs.

While there are no accounts the studio belongs to whoever sits at this machine. It knows nothing of
what people do inside; each service checks the role of whoever asks.
"""

from studio.accounts.records import Account, NewAccount, NewToken, Scope, Token, Visitor
from studio.accounts.service import AccountService

__all__ = ["Account", "AccountService", "NewAccount", "NewToken", "Scope", "Token", "Visitor"]
