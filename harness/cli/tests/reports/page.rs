//! What every page has to be: silent, alone, legible in dark and light, usable with the keyboard, whole on paper, and no
//! wider than a telephone. Pictures of it are left in the test's folder, to be looked at.
use serde_json::Value;
use std::path::Path;

use crate::browser::Browser;

/// Contrast that text needs (WCAG 2.2, success criterion 1.4.3).
const CONTRAST: f64 = 4.5;

/// Every pair of text and ground below that contrast: the innermost opaque ground is what the text stands on.
const FAINT: &str = r"(() => {
  const numbers = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = c => numbers(c).slice(0, 3)
    .map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const opaque = c => { const n = numbers(c); return n.length === 3 || n[3] === 1; };
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (opaque(c)) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const out = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(e);
    if (!own || style.visibility === 'hidden' || e.closest('title, desc')) continue;
    const text = e.closest('svg') ? style.fill : style.color;
    const pair = [light(text), light(ground(e))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < LEAST) out.push(`${contrast.toFixed(2)} ${text} on ${ground(e)}: ${e.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(out)];
})()";

/// Everything that can have the focus, in the order of the page; each is given a number to be known by.
const CONTROLS: &str = "(() => {
  const all = [...document.querySelectorAll('a[href], input, button, summary, [tabindex=\"0\"]')];
  all.forEach((e, i) => e.dataset.number = i);
  return all.length;
})()";

/// The number of what has the focus, and whether one sees that.
const FOCUS: &str = "(() => {
  const e = document.activeElement, s = getComputedStyle(e);
  return [Number(e.dataset.number ?? -1), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2];
})()";

/// Boxes that show less than they hold.
const CLIPPED: &str = "[...document.querySelectorAll('.folded, .scroll')]
  .filter(e => getComputedStyle(e).overflowY !== 'visible' && e.scrollHeight > e.clientHeight + 2)
  .map(e => e.getAttribute('aria-label'))";

/// Checks a page and gives all of its text.
pub(crate) fn check(browser: &mut Browser, page: &Path, pictures: &Path, name: &str) -> String {
    let picture = |what: &str| pictures.join(format!("{name}-{what}"));
    for (dark, scheme) in [(false, "light"), (true, "dark")] {
        browser.open(page, 1280, 900, dark);
        assert_eq!(browser.complaints(), [] as [&str; 0], "{name}, {scheme}");
        let requests = browser.requests();
        assert_eq!(
            requests.len(),
            1,
            "{name}: nothing but the page is asked for: {requests:?}"
        );
        let faint = browser.value(&FAINT.replace("LEAST", &CONTRAST.to_string()));
        assert_eq!(
            faint,
            Value::Array(Vec::new()),
            "{name}, {scheme}: too little contrast"
        );
        browser.photograph(&picture(&format!("{scheme}.png")));
    }
    keyboard(browser, name);
    browser.medium("print", false);
    let clipped = browser.value(CLIPPED);
    assert_eq!(
        clipped,
        Value::Array(Vec::new()),
        "{name}: cut off on paper"
    );
    browser.print(&picture("print.pdf"));
    browser.open(page, 390, 844, false);
    let width = browser
        .value("document.documentElement.scrollWidth")
        .as_u64()
        .unwrap();
    assert!(width <= 390, "{name}: {width} pixels wide on a telephone");
    browser.photograph(&picture("narrow.png"));
    let text = browser.value("document.body.textContent");
    let text = text.as_str().unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The tabulator reaches each control once, in the order of the page, and one sees where one is.
fn keyboard(browser: &mut Browser, name: &str) {
    let controls = browser.value(CONTROLS).as_u64().unwrap();
    let mut reached = Vec::new();
    for _ in 0..controls {
        browser.press_tab();
        let focus = browser.value(FOCUS);
        assert_eq!(
            focus[1], true,
            "{name}: the focus on control {focus} is not seen"
        );
        reached.push(focus[0].as_u64().unwrap_or(u64::MAX));
    }
    assert_eq!(
        reached,
        (0..controls).collect::<Vec<_>>(),
        "{name}: order of the tabulator"
    );
}
