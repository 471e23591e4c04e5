//! The screen of a terminal as SVG: a dark panel, legible on any page.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

// In pixels. A monospaced character is 0.6 of its size wide, and is stretched to that where a font differs.
const FONT: f32 = 14.0;
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 19.0;
const MARGIN: f32 = 18.0;
/// Above each command but the first.
const GAP: f32 = 7.0;

const STYLE: &str = "\
text { font: 14px ui-monospace, 'SF Mono', SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; \
white-space: pre; fill: #c9d1d9; }
.b { font-weight: 700; fill: #ffffff; }
.c1 { fill: #ff7b72; }
.c2 { fill: #56d364; }
.c3 { fill: #e3b341; }
.c6 { fill: #56d4dd; }
";

/// Draws the first `rows` of the screen; `commands` are those in which one was typed.
pub(crate) fn draw(screen: &Screen, rows: u16, commands: &[u16]) -> String {
    let columns = screen.size().1.get();
    let top = |row: u16| {
        let above = commands.iter().skip(1).filter(|command| **command <= row);
        MARGIN + f32::from(row) * HEIGHT + above.count() as f32 * GAP
    };
    let width = f32::from(columns) * WIDTH + 2.0 * MARGIN;
    let height = top(rows) + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" xml:space=\"preserve\">\n\
         <title>A session with ncred</title>\n\
         <desc>Recorded by `cargo xtask docs --write`.</desc>\n\
         <style>\n{STYLE}</style>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\" fill=\"#11161d\" stroke=\"#3d444d\"/>\n",
        width - 1.0,
        height - 1.0,
    );
    for row in 0..rows {
        let cells: Vec<&Cell> = (0..columns).map(|at| screen.cell(row, at).unwrap()).collect();
        line(&mut svg, &cells, top(row) + FONT);
    }
    svg.push_str("</svg>\n");
    svg
}

/// One row, cut where the attributes change.
fn line(svg: &mut String, cells: &[&Cell], y: f32) {
    let mut at = 0;
    for run in cells.chunk_by(|a, b| class(a) == class(b)) {
        let text: String = run
            .iter()
            .map(|cell| match cell.contents() {
                "" => " ",
                text => text,
            })
            .collect();
        let shown = text.trim_end();
        if !shown.is_empty() {
            let x = MARGIN + at as f32 * WIDTH;
            let length = shown.chars().count() as f32 * WIDTH;
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{}>{}</text>",
                class(run[0]),
                escaped(shown)
            );
        }
        at += run.len();
    }
}

fn class(cell: &Cell) -> String {
    assert!(
        !cell.is_wide() && !cell.inverse() && cell.bgcolor() == Color::Default,
        "the picture has no place for {cell:?}"
    );
    let bold = if cell.bold() { "b" } else { "" };
    let color = match cell.fgcolor() {
        Color::Default => String::new(),
        Color::Idx(index @ (1 | 2 | 3 | 6)) => format!("c{index}"),
        other => panic!("the picture has no colour for {other:?}"),
    };
    match (bold, color.as_str()) {
        ("", "") => String::new(),
        _ => format!(" class=\"{}\"", format!("{bold} {color}").trim()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
