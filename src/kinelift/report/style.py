"""The page's style sheet; colours come from `canvas.colour_css`."""

STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:800px;margin:0 auto;padding:16px 20px 64px}
header{border-left:6px solid var(--c);padding:4px 0 4px 18px;margin:16px 0 24px}
header.care{border-color:var(--b)}
header.bad{border-color:var(--limit)}
header p{margin:0;max-width:64ch}
header .name{color:var(--muted);overflow-wrap:anywhere}
h1{font-size:1.9rem;line-height:1.25;margin:0 0 4px}
h2{font-size:1.2rem;margin:40px 0 8px}
section>p{margin:0 0 12px;color:var(--muted);max-width:68ch}
small{display:block;color:var(--muted);font-size:.8rem;line-height:1.4}
code{font-size:.9em;background:var(--gap);border-radius:4px;padding:1px 5px;white-space:nowrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:0}
.tiles div{border:1px solid var(--grid);border-radius:8px;padding:10px 12px}
.tiles dt{color:var(--muted);font-size:.85rem}
.tiles dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}
.advice{list-style:none;margin:16px 0 0;padding:0}
.advice li{border-left:4px solid var(--muted);padding:2px 0 2px 14px;margin:0 0 18px}
.advice li.care{border-color:var(--b)}
.advice li.bad{border-color:var(--limit)}
.advice b{font-size:.8rem;color:var(--muted)}
.advice .care b{color:var(--b)}
.advice .bad b{color:var(--limit)}
.advice p{margin:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:6px 14px 6px 0;border-bottom:1px solid var(--grid)}
th{font-weight:600}
thead th{color:var(--muted);font-weight:400}
td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
figure{margin:0 0 20px}
svg{display:block;width:100%;height:auto}
.narrow{display:none}
details{margin:24px 0 0}
summary{cursor:pointer;color:var(--muted)}
@media (max-width:560px){
main{padding:8px 14px 48px}
.wide{display:none}
.narrow{display:block}
.tiles{grid-template-columns:repeat(2,1fr)}
}
@media print{details{display:none}}
"""
