"""The rules about failed attempts, in their order: the first that fits judges."""

from functools import partial

from django.utils.translation import gettext_lazy as _

from emailqueue.jobs.ends import End
from emailqueue.verdict.rule import PHASES, Rule

STOCK_WORKER = "stock-worker"
"""The rule that says what a worker of RQ's own class has done."""

_SMTP = ("mail", "rcpt", "data", "body")
_LATER = ("rcpt", "data", "body")
"""From RCPT on an answer is about this recipient, whose domain or whose mail it concerns (RFC 5321, section 3.3)."""

# One rule each by its end, so that a line of the table begins with what matters.
_retry = partial(Rule, end=End.RETRY)
_wait = partial(Rule, end=End.WAIT)
_login = partial(_wait, about_account=True)
_unreached = partial(_wait, before_contact=True)
_throttle = partial(Rule, end=End.THROTTLE)
_dead = partial(Rule, end=End.PERMANENT)
_bad = partial(Rule, end=End.BAD_ADDRESS)
_maybe = partial(Rule, end=End.AMBIGUOUS)

# Words that say what the codes do not.
_RELAY = (
    r"relay\w*( access)? (is )?(denied|not permitted|not allowed|prohibited)"
    r"|(unable|not permitted|not allowed) to relay|denies relay|credentials for relay|rcpthosts"
    r"|not authorized to send email directly"
)
_LOGIN = (
    r"\bauthenti\w+( is)? (required|failed|unsuccessful|requise)|must (authenticate|log ?in|issue a starttls)"
    r"|authenticate first|please (authenticate|log in)|client was not authenticated"
)
_OUR_LIMIT = (
    r"throttling failure|sending rate exceeded|credits exceeded|(daily|hourly) .{0,40}(limit|quota)|relay limit"
    r"|max (emails|defers and failures) per hour|submission ?quota|outbound thread limit|tenant has exceeded"
    r"|not allowed to send: .*limit|reached your .{0,20}limit|(sending|message) (quota|limit) (is )?exceeded"
)
_OUR_ACCOUNT = (
    r"not allowed to send|(your|sending|sender) account (is |has been |was )?(disabled|suspended|blocked|locked)"
    r"|bad outbound sender|traffic not accepted from this ip|sending (is )?(paused|suspended|disabled)"
    r"|mail sending denied|unregistered domains|account outbounds disabled|(banned sender|spam abuse detected)"
)
_OUR_SENDER = (
    r"sender (address )?(rejected|denied|is unvalidated)|sender verify failed|unknown sender|(not|n.t) owned by"
    r"|permissions? to send as|sendasdenied|(address is not|not a|match a) verified|unauthenticated senders"
    r"|not authorized to send (as|from)|invalid sender|emetteur invalide|from: domain is invalid"
    r"|unresolvable .{0,20}(from|domain)"
)
_LISTED = (
    r"block ?-?list|black ?-?list|\brbl\b|dnsbl|spamhaus|spamcop|barracuda\w*\.|sorbs|cloudmark (csi|sender)"
    r"|(poor|bad|low|ip) reputation|reputation of the sending ip|banned sending ip|host .{0,60}(is )?blocked"
    r"|client blocked|(this|from|your) ip .{0,60}blocked|permanently deferred"
    r"|connections? (will |are )?not (be )?accepted|not accepting connections"
    r"|adresse ip .{0,20}bloquee|find your (reverse )?host ?name|reverse dns|\bptr records?\b"
)
_BUSY_MAILBOX = (
    r"receiving mail (too quickly|at a rate)|message receive limit|recipient thread limit|exceeded their limit for"
)
_RATE = (
    r"rate ?-?limit|unusual rate|too (many|much) (connections|connects|messages|e?-?mails?|sessions|requests)"
    r"|too many .{0,40}(hour|minute|throttled)|too (fast|quickly|frequent)|frequency limited|slow(er)? down|throttl"
    r"|(excessive|unexpected) volume|exceeded permitted limits|connection (rate|limit|count)"
    r"|max\w* (number of )?messages? per (connection|session)"
    r"|unavailable or access den"  # QQ says this of senders that are too fast
)
_OUR_DNS = r"\b(spf|dkim|dmarc)\b"
_NO_ADDRESS = (
    r"\b(user|mailbox|recipient|account|e-?mail address|local ?part|alias)\b.{0,40}(unknown|not found|not exist"
    r"|n.t exist|no longer|inactive|deactivated|suspended|(is|been) disabled|discontinued|archived)"
    r"|\bno (user|mailbox) (here|by|with|of)\b"
    r"|\b(unknown|no such|invalid|inactive|illegal|unrouteable|archived|bad) (or illegal )?(user|mailbox|recipient"
    r"|account|e-?mail address|address|alias|local ?part)\b|n.t have a .{0,60}account|recipient rejected"
    r"|recipientnotfound|nonexistentdomain|not listed in domino"
)
_FULL = (
    r"over ?.?quota|(mailbox|inbox|boite)\b.{0,40}(full|pleine|out of storage)|over storage|storage (quota|limit)"
    r"|exceeded storage|exhausted allowed storage|too many messages on the server|^(e-?mail )?quota exceeded"
)
_LARGE = (
    r"(message|mail|size|e-?mail)\b.{0,40}too (large|big|long)|too (large|big)|exceed\w* .{0,60}size"
    r"|(size|length)\b.{0,20} exceed|taille limite"
)
_CONTENT = (
    r"spam|virus|unsolicited|content|attachment|phish|suspicious|mail rejete|message (was |has been )?(blocked|refused)"
    r"|domain present in|surbl|uribl|malformed|header"
)
_ONLY_INSIDE = (
    r"resolver\.rst\.(sendernotauth|authrequired|restricted|notauth)|not (in|authenticated for).{0,30}(group|mailbox)"
)
_TO_IS_WRONG = r"['\"]to['\"].{0,30}(not (a )?valid|invalid)|(invalid|parsing) ['\"]to['\"]"

# Names of error classes, so that no library has to be imported for them.
_UNREACHED = (
    "ConnectionRefusedError", "NewConnectionError", "ConnectTimeout", "ConnectTimeoutError", "ProxyError",
    "EndpointConnectionError",
)  # fmt: skip
_NO_NAME = ("gaierror", "herror", "NameResolutionError")
_NO_TLS = ("SSLError", "CertificateError")
_CUT = ("ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError", "SMTPServerDisconnected")
_LOST = (
    "TimeoutError", "ReadTimeout", "ReadTimeoutError", "ConnectionResetError", "ConnectionAbortedError",
    "BrokenPipeError", "RemoteDisconnected", "ProtocolError", "ChunkedEncodingError", "ConnectionClosedError",
    "SMTPServerDisconnected",
)  # fmt: skip

# Django has the mailer's settings in EMAIL_HOST and its like, or since 6.1 in OPTIONS of MAILERS; never in both.
_LOGIN_SAYS = _(
    "The mail server does not let us in. Check user name and password of the mailer (EMAIL_HOST_USER and "
    "EMAIL_HOST_PASSWORD, or OPTIONS of MAILERS), and whether the provider requires an app password."
)
_LOGIN_LATER_SAYS = _(
    "The mail server cannot check the login or start TLS now. If it lasts, look at the provider's status page."
)
_LISTED_SAYS = _(
    "Our server's IP address is on a block list or has no good name. Look it up at the address in the reply, "
    "remove the cause, and ask for removal. Until then the mails wait."
)
_SLOW_SAYS = _("The recipient's provider asks us to go slower. Nothing to do: the domain's mails wait and then go on.")
_DNS_PROOF_SAYS = _(
    "There is no valid proof that we may send for our domain. Set up SPF, DKIM and DMARC for the sender's domain; "
    "dead letters with this reason can be retried then."
)
_FULL_SAYS = _("The recipient's mailbox is full. Tell the recipient in another way, or retry in some days.")
_GONE_SAYS = _("This address does not exist or is closed. Correct it and retry, or discard the dead letter.")
_LATER_SAYS = _("The server cannot take the mail now. Nothing to do: it is retried.")

RULES: tuple[Rule, ...] = (
    # A provider says in any phase that our account is used up.
    _wait(name="our-limit", phases=PHASES, codes="4xx 5xx", text=_OUR_LIMIT, sentence=_(
        "Our account with the provider has reached its limit. Lower RATE_LIMIT, or have the limit raised.")),
    # Before the first mail: whatever the reason is, it is not the mail (RFC 5321, sections 3.1 and 4.3.2).
    _login(name="login", phases=("connect",), codes="530 534 535 538", sentence=_LOGIN_SAYS),  # RFC 4954, section 6
    _wait(name="login-later", phases=("connect",), codes="432 454", sentence=_LOGIN_LATER_SAYS),
    _wait(name="server-busy", phases=("connect",), codes="4xx", sentence=_(
        "The mail server takes no more connections now. If it lasts, lower CONCURRENCY or ask the provider.")),
    _wait(name="server-refuses-us", phases=("connect",), codes="5xx", sentence=_(
        "The mail server refuses to talk to us. Read its reply: often our IP address is on a block list.")),
    _unreached(name="no-name", phases=("connect", "api"), errors=_NO_NAME, sentence=_(
        "The mail server's name cannot be resolved. Check the host of the mailer (EMAIL_HOST, or OPTIONS of MAILERS) "
        "and the DNS of this machine.")),
    _unreached(name="no-tls", phases=("connect", "api"), errors=_NO_TLS, sentence=_(
        "The encrypted connection failed. Check port and encryption of the mailer (EMAIL_PORT, EMAIL_USE_TLS and "
        "EMAIL_USE_SSL, or OPTIONS of MAILERS), and the server's certificate.")),
    _wait(name="not-supported", phases=("connect",), errors=("SMTPNotSupportedError",), sentence=_(
        "The mail server offers no encryption or no login where we want it. Check port, encryption and user name of "
        "the mailer (EMAIL_PORT, EMAIL_USE_TLS and EMAIL_HOST_USER, or OPTIONS of MAILERS).")),
    _unreached(name="not-configured", phases=("connect", "api"), errors=("ImproperlyConfigured",), sentence=_(
        "The mailer's settings are wrong. The error says which; correct it and start the workers again.")),
    _unreached(name="not-reached", phases=("connect", "api"), errors=_UNREACHED, sentence=_(
        "Nobody answers at the mail server's address. Check host and port of the mailer (EMAIL_HOST and EMAIL_PORT, or "
        "OPTIONS of MAILERS) and the firewall; else wait.")),
    _wait(name="no-connection", phases=("connect",), sentence=_(
        "No connection to the mail server could be made, or it broke at once. If it lasts, read the error below.")),
    # Our account, whatever the phase of the dialogue (RFC 4954, section 6; RFC 3207, section 4).
    _login(name="login-in-dialogue", phases=_SMTP, codes="530 534 535 538", sentence=_LOGIN_SAYS),
    _wait(name="login-in-dialogue-later", phases=_SMTP, codes="454", sentence=_LOGIN_LATER_SAYS),
    _wait(name="login-transition", phases=_SMTP, codes="432", status="4.7.12", sentence=_LOGIN_SAYS),
    _dead(name="only-inside", phases=_LATER, codes="5xx", text=_ONLY_INSIDE, sentence=_(
        "The recipient takes mail only from inside its own organisation. Ask its administrator to let ours in.")),
    _wait(name="our-dns-at-mail", phases=("mail",), codes="4xx 5xx", text=_OUR_DNS, sentence=_DNS_PROOF_SAYS),
    _throttle(name="our-dns-now", phases=_LATER, codes="4xx", text=_OUR_DNS, sentence=_DNS_PROOF_SAYS),
    _dead(name="our-dns", phases=_LATER, codes="5xx", text=_OUR_DNS, sentence=_DNS_PROOF_SAYS),  # RFC 7372, section 3
    _wait(name="our-relay", phases=_SMTP, codes="4xx 5xx", text=_RELAY, sentence=_(
        "The mail server does not forward mail for us. Check that the mailer logs in (EMAIL_HOST_USER, or OPTIONS of "
        "MAILERS), that our IP address is allowed there, and that its host is our outgoing server.")),
    _login(name="our-login", phases=_SMTP, codes="4xx 5xx", text=_LOGIN, sentence=_LOGIN_SAYS),
    _wait(name="our-account", phases=(*_SMTP, "api"), codes="4xx 5xx", text=_OUR_ACCOUNT, sentence=_(
        "The provider has stopped our account or this server. Log in there and see why.")),
    # RFC 3463, section 3.2: x.1.7 and x.1.8 are about the sender. 5.7.60 is Exchange's.
    _wait(name="our-sender", phases=_SMTP, codes="4xx 5xx", status="x.1.7 x.1.8 5.7.60", sentence=_(
        "The sender's address or domain is refused. Check DEFAULT_FROM_EMAIL and the domain's DNS.")),
    _wait(name="our-sender-said", phases=(*_SMTP, "api"), codes="4xx 5xx", text=_OUR_SENDER, sentence=_(
        "We may not send with this sender's address. Check DEFAULT_FROM_EMAIL, and have the address or its domain "
        "verified by the provider.")),
    # Our speed. A provider asks us to slow down with 421, with 4.7.x, or with any other code and words.
    _retry(name="mailbox-busy", phases=_LATER, codes="4xx 5xx", text=_BUSY_MAILBOX, sentence=_(
        "This one mailbox gets too many mails now. It is retried; send fewer mails to this recipient.")),
    _dead(name="mailbox-full", phases=_LATER, codes="5xx", text=_FULL, sentence=_FULL_SAYS),
    _retry(name="mailbox-full-said-now", phases=_LATER, codes="4xx", text=_FULL, sentence=_FULL_SAYS),
    _dead(name="their-list", phases=_LATER, codes="5xx", text=r"customer block list|rejected by recipient", sentence=_(
        "The recipient's organisation blocks us by a list of its own. Only its administrator can change that.")),
    _dead(name="listed-link", phases=_SMTP, codes="5xx", text=r"domain present in|surbl|uribl", sentence=_(
        "A domain in the mail, such as that of a link, is on a block list. Change the mail, or get it off the list.")),
    _wait(name="rate-at-mail", phases=("mail",), codes="4xx 5xx", text=_RATE, sentence=_(
        "The mail server asks us to go slower. Lower RATE_LIMIT if this comes back.")),
    _throttle(name="rate", phases=_LATER, codes="4xx 5xx", text=_RATE, sentence=_SLOW_SAYS),
    _wait(name="listed-at-mail", phases=("mail",), codes="4xx 5xx", text=_LISTED, sentence=_LISTED_SAYS),
    _throttle(name="listed", phases=_LATER, codes="4xx 5xx", text=_LISTED, sentence=_LISTED_SAYS),
    _wait(name="closing-at-mail", phases=("mail",), codes="421", sentence=_(  # RFC 5321, section 3.8
        "The mail server is closing down or has enough of us for now. Nothing to do, unless it lasts.")),
    _throttle(name="closing", phases=_LATER, codes="421", sentence=_SLOW_SAYS),
    # RFC 3463, section 3.8: x.7.x is security or policy; in a 4xx it means: not now, not from you.
    # At MAIL only we are known, so that a 5xx says the same of us.
    _wait(name="policy-at-mail", phases=("mail",), codes="4xx 5xx", status="x.7.x", sentence=_(
        "The mail server refuses us before it knows the mail: by a rule about our IP address or sender. Its reply may "
        "say which; else ask the provider.")),
    _throttle(name="policy-later", phases=_LATER, codes="4xx", status="x.7.x", sentence=_SLOW_SAYS),
    # Other 4xx: later may help (RFC 5321, section 4.2.1).
    _retry(name="greylisted", phases=_LATER, codes="4xx", text=r"gr[ea]y ?-?list", sentence=_(
        "The recipient's server takes mail of new senders only at the second attempt, some minutes later. If such "
        "mails end here, give their type more attempts or a longer backoff.")),
    _retry(name="mailbox-full-now", phases=_LATER, codes="4xx", status="x.2.2", sentence=_FULL_SAYS),
    _retry(name="mailbox-now", phases=_LATER, codes="4xx", status="x.1.x x.2.x", sentence=_(
        "The recipient's mailbox cannot be reached or checked now. Nothing to do: it is retried.")),
    _retry(name="routing-now", phases=_SMTP, codes="4xx", status="x.4.x", sentence=_(  # RFC 3463, section 3.5
        "The mail server cannot reach the recipient's server now. Nothing to do: it is retried.")),
    _retry(name="later", phases=_SMTP, codes="4xx", sentence=_LATER_SAYS),
    # 5xx (RFC 5321, section 4.2.1): the words first, since 550, 552 and 554 are used for everything.
    _bad(name="no-address-said", phases=_LATER, codes="5xx", text=_NO_ADDRESS, sentence=_GONE_SAYS),
    _dead(name="too-large", phases=_SMTP, codes="5xx", status="x.2.3 x.3.4", sentence=_(  # RFC 3463, sections 3.3, 3.4
        "The mail is too large for the server. Make it smaller: link to files instead of attaching them.")),
    _dead(name="too-large-said", phases=_SMTP, codes="5xx", text=_LARGE, sentence=_(
        "The mail is too large for the server. Make it smaller: link to files instead of attaching them.")),
    _dead(name="content", phases=_SMTP, codes="5xx", text=_CONTENT, sentence=_(
        "The server refuses what the mail says or carries. Look at its text, links and attachments.")),
    _dead(name="mailbox-full-by-code", phases=_LATER, codes="5xx", status="x.2.2", sentence=_FULL_SAYS),
    # RFC 3463, sections 3.2 and 3.3; RFC 7505, section 4.2 (5.1.10); RFC 5321, section 4.2.2 (551, 553).
    _bad(name="no-address", phases=_LATER, codes="5xx", sentence=_GONE_SAYS,
        status="x.1.0 x.1.1 x.1.2 x.1.3 x.1.4 x.1.5 x.1.6 x.1.10 x.2.1"),
    _bad(name="no-address-exchange", phases=_LATER, codes="5xx", status="5.4.1 5.7.504", sentence=_(
        "This address does not exist in the recipient's organisation. Correct it and retry, or discard the "
        "dead letter."),
        text=r"recipient address rejected: access denied"),
    _bad(name="no-domain", phases=_LATER, codes="5xx", status="x.4.4", sentence=_(
        "The domain of this address does not exist or takes no mail. Correct the address and retry, or discard.")),
    _dead(name="loop", phases=_SMTP, codes="5xx", status="x.4.6 x.4.14", sentence=_(
        "The mail goes round in circles between servers. The recipient's administrator must end that.")),
    _dead(name="their-policy", phases=_SMTP, codes="5xx", status="x.7.x", sentence=_(  # RFC 3463, section 3.8
        "The server refuses the mail by a rule of its own. Its reply may say which; else ask its postmaster.")),
    _dead(name="their-policy-said", phases=_SMTP, codes="5xx", sentence=_(
        "The server refuses the mail by a rule of its own. Its reply may say which; else ask its postmaster."),
        text=r"\bpolic(y|ies)\b|prohibit|access denied|not authorized|requires? (tls|encrypt)|envelope (block|reject)"),
    _bad(name="mailbox-unavailable", phases=("rcpt",), codes="550", text=r"mailbox unavailable", sentence=_(
        "The server says that this mailbox cannot be reached: most often the address is wrong. Check it, then retry.")),
    _bad(name="not-local", phases=("rcpt",), codes="551 553", sentence=_(
        "The server does not know this mailbox or its name. Correct the address and retry, or discard the "
        "dead letter.")),
    _dead(name="protocol", phases=_SMTP, codes="500 501 502 503 504 555", sentence=_(  # RFC 5321, section 4.2.4
        "The server did not understand us. If it comes back, it is a fault of the software: report the reply.")),
    _dead(name="refused", phases=_SMTP, codes="5xx", sentence=_(
        "The server refused the mail for good. Read its reply, remove the cause, then retry.")),
    # No reply at all: the connection was lost, or the server kept silent (RFC 5321, section 4.5.3.2).
    _wait(name="lost-at-mail", phases=("mail",), sentence=_(
        "The connection to the mail server was lost before the mail began. If it lasts, ask the provider.")),
    _maybe(name="lost-at-body", phases=("body",), sentence=_(  # RFC 5321, section 4.2.5; RFC 1047
        "The connection was lost when the server may have taken the mail already. Ask the recipient before a retry.")),
    _retry(name="silent", phases=("rcpt", "data"), errors=("TimeoutError",), sentence=_LATER_SAYS),
    # So an outage begins for mails that are on their way: no fault of theirs.
    _wait(name="cut", phases=("rcpt", "data"), errors=_CUT, sentence=_(
        "The mail server broke the connection before it had the mail. If it lasts, ask the provider.")),
    _retry(name="lost", phases=("rcpt", "data"), sentence=_LATER_SAYS),
    # Backends that call a provider's API: django-anymail by the names of its errors, others by HTTP status.
    _bad(name="api-no-address", phases=("api",), sentence=_(
        "The provider refuses this address: it is invalid, or has bounced or complained before. Correct it, or remove "
        "it from the provider's suppression list, then retry."),
        errors=("AnymailRecipientsRefused", "AnymailInvalidAddress")),
    _dead(name="api-message", phases=("api",), sentence=_(
        "The mailer cannot send a mail of this form. Read the error, change the e-mail type, then retry."),
        errors=("AnymailUnsupportedFeature", "AnymailSerializationError", "AnymailCancelSend")),
    _bad(name="api-to", phases=("api",), codes="400 422", text=_TO_IS_WRONG, sentence=_(
        "The provider says that the recipient's address is not valid. Correct it and retry, or discard the "
        "dead letter.")),
    _maybe(name="api-unclear", phases=("api",), codes="2xx", sentence=_(
        "The provider took the mail, but its answer could not be read. Look there before a retry.")),
    _login(name="api-login", phases=("api",), codes="401 402 403 404 405 407", sentence=_(
        "The provider's API does not let us in. Check its key and address in the settings, and whether the account is "
        "active and paid.")),
    _wait(name="api-limit", phases=("api",), codes="420 429", sentence=_(
        "Our account with the provider has reached its limit. Lower RATE_LIMIT, or have the limit raised.")),
    _wait(name="api-away", phases=("api",), codes="408 5xx", sentence=_(
        "The provider's API has a fault. Nothing to do; if it lasts, look at its status page.")),
    _retry(name="api-conflict", phases=("api",), codes="409 423 425", sentence=_LATER_SAYS),
    _dead(name="api-refused", phases=("api",), codes="4xx", sentence=_(
        "The provider refuses the mail. Read its answer, change the mail, then retry.")),
    _maybe(name="api-lost", phases=("api",), errors=_LOST, sentence=_(
        "The provider did not answer, so it may have taken the mail. Look there before a retry.")),
    # Imported failures, see housekeeping/stock_workers.py: RQ's own worker cannot read JSON, or knows no e-mail type.
    _dead(name=STOCK_WORKER, errors=("DeserializationError",), sentence=_(
        "A worker of RQ's own class took this job, which it cannot run. Set RQ = {\"WORKER_CLASS\": "
        "\"emailqueue.worker.EmailWorker\"} or start the workers with --worker-class, then retry.")),
    _retry(name="unknown", sentence=_("An error that no rule knows. It is retried; read the error below.")),
)  # fmt: skip
