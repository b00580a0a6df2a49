"""A `View` as HTML. Class and modality names are anybody's text: all of it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from u2a_demo.view import CLASSES, View

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def markup(view: View | None, problems: Sequence[tuple[str, str]] = ()) -> str:
    """The page's right side.

    Args:
        view: None where nothing is given, or everything is switched off.
        problems: modality and what is wrong with what was given.
    """
    told = "".join(
        f'<p class="mistake" role="alert">{escape(name)}: {escape(reason)}</p>' for name, reason in problems
    )
    if view is None:
        inner = '<p class="faint">Give at least one modality, and leave it switched on.</p>'
    else:
        inner = _classes(view) + _stand_ins(view) + _contributions(view) + _patterns(view)
    return f'<div class="u2a-view" aria-live="polite">{told}{inner}</div>'


def _classes(view: View) -> str:
    shown = list(view.ranked[:CLASSES])
    shown += [one for one in view.ranked[CLASSES:] if one[0] in view.truth]
    rows = "".join(
        _bar(name, p, f"{p:.1%}", marked=name in view.labels, true=name in view.truth) for name, p in shown
    )
    rest = len(view.ranked) - len(shown)
    more = f'<p class="faint">and {rest} classes that are less probable</p>' if rest > 0 else ""
    if not view.truth:
        said = ""
    elif set(view.truth) == set(view.labels):
        said = f"<p>True label: {escape(', '.join(view.truth))}. The prediction is right.</p>"
    else:
        said = f'<p class="mistake">True label: {escape(", ".join(view.truth))}. The prediction is wrong.</p>'
    head = ", ".join(view.labels) or "no label"
    title = f'<h3>Prediction: <span id="u2a-label">{escape(head)}</span></h3>'
    return f'{title}{said}<div class="bars">{rows}</div>{more}'


def _bar(name: str, p: float, text: str, *, marked: bool, true: bool) -> str:
    named = escape(name) + (" ✓" if true else "")
    named = f"<strong>{named}</strong>" if marked else named
    return (
        f'<span>{named}</span><span class="track"><span class="bar" style="width:{100 * p:.2f}%"></span></span>'
        f'<span class="number">{text}</span>'
    )


def _stand_ins(view: View) -> str:
    if not view.filled:
        return '<p class="faint">Every modality is there; nothing has to be stood in for.</p>'
    who = _listed([escape(name) for name in view.used])
    verb = "stands" if len(view.used) == 1 else "stand"
    for_whom = _listed([f"<strong>{escape(name)}</strong>" for name in view.filled])
    return f'<h3>What stands in for what</h3><p id="u2a-stand-ins">{who} {verb} in for {for_whom}.</p>'


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _contributions(view: View) -> str:
    why = view.explanation
    scale = max([abs(value) for value in why.contributions.values()] + [1e-9])
    rows = "".join(
        f'<span>{escape(name)}</span><span class="track"><span class="middle"></span>'
        f'<span class="bar{"" if value >= 0 else " less"}" style="{_side(value / scale)}"></span></span>'
        f'<span class="number">{100 * value:+.1f}</span>'
        for name, value in why.contributions.items()
    )
    return (
        f"<h3>What each modality adds to the probability of {escape(why.label)}, in points</h3>"
        f'<div class="bars">{rows}</div><p class="faint">{why.nothing:.1%} where nothing is known, '
        f"{why.probability:.1%} with all that is on; the numbers add up to the difference.</p>"
    )


def _side(share: float) -> str:
    width = 50 * abs(share)
    return f"left:{50 if share >= 0 else 50 - width:.2f}%;width:{width:.2f}%"


def _patterns(view: View) -> str:
    names = view.rows[0].present  # the largest comes first: all that was given
    why = escape(view.explanation.label)
    head = "".join(f'<th class="dot">{escape(name)}</th>' for name in names)
    body = "".join(
        f"<tr{' class=now' if row.is_now else ''}>"
        + "".join(
            f'<td class="dot"><span role="img" aria-label="{"there" if name in row.present else "missing"}">'
            f"{'●' if name in row.present else '○'}</span></td>"
            for name in names
        )
        + f"<td>{escape(row.label)} {row.probability:.1%}</td>"
        f'<td class="number">{row.p_shown:.1%}</td></tr>'
        for row in view.rows
    )
    return (
        "<h3>The same sample with less of it, from one encoding</h3>"
        f'<div class="scroll"><table><thead><tr>{head}<th>most probable</th><th class="number">{why}</th></tr>'
        "</thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
