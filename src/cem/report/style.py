"""The style of a page: for screens of any width, and for paper."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem clamp(.8rem,3vw,2.5rem) 3rem;max-width:72rem;color:#12202e;background:#fff;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.6rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-top:.6rem;border-top:2px solid #dfe5ea}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.4rem 0;max-width:46rem}
nav{font-size:.9rem}
nav a{display:inline-block;margin:0 .9rem .2rem 0;color:#005a8f}
.scroll{overflow-x:auto;max-width:100%;margin:.4rem 0}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.22rem .7rem .22rem 0;border-bottom:1px solid #e7ecf0;text-align:left;vertical-align:top}
thead th{color:#51606d;font-weight:600;white-space:nowrap}
td{white-space:nowrap}
td.n,th.n{text-align:right}
td.w{white-space:normal;overflow-wrap:anywhere;min-width:20ch}
.facts td{white-space:normal;overflow-wrap:anywhere}
.facts th{font-weight:600;color:#51606d}
.chips{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;padding:0;margin:.6rem 0;list-style:none}
.chips svg{width:2rem;height:.6rem;vertical-align:middle;margin-right:.35rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:.8rem 1.2rem}
figure{margin:0;break-inside:avoid}
figure:only-child{grid-column:1/-1}
figure svg{width:100%;height:auto;display:block}
figcaption{font-size:.8rem;color:#51606d}
svg *{stroke-linejoin:round;stroke-linecap:butt}
.notes{padding:0;list-style:none}
.notes li{border-left:4px solid #d55e00;background:#fdf3ec;padding:.4rem .8rem;margin:.5rem 0;max-width:60rem;
break-inside:avoid}
.missing,.small{color:#51606d;font-size:.9rem}
footer{margin-top:2.5rem;color:#51606d;font-size:.8rem}
@media print{
@page{margin:14mm}
body{font-size:10pt;max-width:none;padding:0}
nav{display:none}
h2,h3{break-after:avoid}
tr{break-inside:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}
table{font-size:7.5pt}
td,thead th{white-space:normal}
.pictures{grid-template-columns:repeat(2,1fr)}
.notes li{background:none}
}
""".strip()
