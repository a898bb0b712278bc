package main

import (
	"fmt"
	"testing"
)

// unreadable are the texts of a page whose contrast is less than WCAG's AA asks for.
const unreadable = `(() => {
	const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
	const over = (ground, color) => {
		canvas.fillStyle = ground; canvas.fillRect(0, 0, 1, 1);
		canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
		return "rgb(" + [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join() + ")";
	};
	const ground = e => e ? over(ground(e.parentElement), getComputedStyle(e).backgroundColor) : "white";
	const light = color => color.match(/\d+/g).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const bad = [];
	for (const e of document.querySelectorAll("body *")) {
		const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
		if (!text || !e.checkVisibility({ visibilityProperty: true }) || e.disabled) continue;
		const behind = ground(e), style = getComputedStyle(e);
		const [a, b] = [light(over(behind, e.namespaceURI.endsWith("svg") ? style.fill : style.color)), light(behind)].sort((x, y) => y - x);
		if ((a + .05) / (b + .05) < 4.5) bad.push(text.slice(0, 40) + " " + ((a + .05) / (b + .05)).toFixed(2));
	}
	return bad;
})()`

// sideways are the elements that reach beyond the window.
const sideways = `document.documentElement.scrollWidth <= innerWidth ? [] :
	[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className + "#" + e.id)`

// On a desk and on a phone, by day and by night, all can be read, and nothing has to
// be scrolled sideways.
func TestConsole_LooksAndContrast(t *testing.T) {
	t.Parallel()
	c := openConsole(t)
	check := func(name string, width int64, scheme string) {
		if bad := value[[]string](c.window, unreadable); len(bad) > 0 {
			t.Errorf("%s, %d, %s: hard to read: %q", name, width, scheme, bad)
		}
		if wide := value[[]string](c.window, sideways); len(wide) > 0 {
			t.Errorf("%s, %d, %s: too wide: %q", name, width, scheme, wide)
		}
		c.shot(fmt.Sprintf("%s-%d-%s", name, width, scheme))
	}
	look := func(name string) {
		for _, width := range []int64{1280, 360} {
			for _, scheme := range []string{"light", "dark"} {
				c.looks(width, map[int64]int64{1280: 800, 360: 740}[width], scheme)
				c.becomes("it is laid out", fmt.Sprintf("innerWidth === %d && new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))", width))
				check(name, width, scheme)
			}
		}
		c.looks(1280, 800, "light")
	}
	look("sign-in")
	c.signIn(c.token("--user", "ann", "--role", "admin"))
	look("nothing")
	c.exec(`INSERT INTO notifier.events (type, action, key, recipient, dataset_id, principal, payload, original, created_at)
		SELECT (ARRAY['issueUpdate', 'datasetUpdate', 'uploadFile', 'notification'])[1 + i % 4], (ARRAY['create', 'update', 'destroy'])[1 + i % 3],
			CASE WHEN i % 4 = 2 THEN 'c0ffee00-4a5b-4c6d-8e7f-' || lpad(i::text, 12, '0') ELSE (4000 + i)::text END,
			CASE WHEN i % 4 = 3 THEN 'ann' END, CASE WHEN i % 4 < 3 THEN 'lab-7' END, 'bob',
			json_build_object('id', 4000 + i, 'title', 'Calibrate the second detector', 'state', 'open', 'labels', ARRAY['hardware', 'urgent'], 'estimate', 3.50, 'assignee', json_build_object('name', 'Ann', 'since', '2026-11-02')),
			CASE WHEN i % 3 = 1 THEN json_build_object('id', 4000 + i, 'title', 'Calibrate the detector', 'state', 'new', 'labels', ARRAY['hardware'], 'estimate', 3.50, 'assignee', null) END,
			now() - (40 - i) * interval '1.37 seconds'
		FROM generate_series(1, 40) AS i`)
	c.shows("#count", "40 events")
	c.click("#list li:nth-child(4)")
	look("events")
	c.click(`[data-view="difference"]`)
	look("difference")
	c.looks(360, 740, "dark")
	c.click("#list li:nth-child(4)")
	c.becomes("the inspector covers the list", `document.querySelector("#inspector").classList.contains("open")`)
	look("inspector")
	c.press("\x1b")
	c.looks(360, 740, "dark")
	c.click("#controls summary")
	c.becomes("it unfolds", `document.querySelector("#controls").open`)
	check("controls", 360, "dark")
	c.looks(1280, 800, "light")
	for i := range 12 {
		c.watch(fmt.Sprintf("user-%d", i%5))
	}
	c.click("#tab-connections")
	c.shows("#connections-count", "13 connections")
	look("connections")
	c.click("#instances button")
	c.shows("#drop-title", "Drop ")
	look("drop")
	c.click("#drop-cancel")
	c.click("#tab-rates")
	for i := range 8 {
		c.exec(`INSERT INTO notifier.events (type, key) SELECT 'tick', i::text FROM generate_series(1, $1::int) AS i`, 100*(1+i%3))
		c.becomes("the chart goes on", fmt.Sprintf(`document.querySelectorAll("#rates path")[0]?.getAttribute("d").split("L").length > %d`, i))
	}
	look("rates")
}
