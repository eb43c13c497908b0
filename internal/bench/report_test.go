package bench

import (
	"strings"
	"testing"
	"time"
)

var sample = Report{
	Date:    time.Date(2026, 11, 21, 10, 11, 12, 0, time.UTC),
	Machine: Machine{CPUs: 2, CPU: "Some CPU", Kernel: "Linux 6.18", FileSystem: "ext4", Go: "go1.26", Platform: "linux/amd64"},
	Results: []Result{
		{Name: "append/1", Rate: 14123.4, Unit: "rows/s", Baseline: 15000, Ratio: .9416, P50: 62.34, P99: 1234, BaselineP50: 60, BaselineP99: 120.4, Goal: .9, Against: "write and flush alone", Rows: 16000},
		{Name: "wire/copy", Rate: 1234567, Unit: "rows/s", Baseline: 9.876, Ratio: 12.3, P50: 5, P99: 6, Against: "nothing", Rows: 1000, CPU: 4, BaselineCPU: 3},
	},
	Notes: []string{"one is left out"},
}

func TestTable(t *testing.T) {
	got := Header() + sample.Results[0].Line() + sample.Results[1].Line()
	want := "" +
		"case                         holdfast     baseline  ratio  goal     p50 µs     p99 µs  unit\n" +
		"append/1                       14,123       15,000   0.94   0.9       62.3      1,234  rows/s\n" +
		"wire/copy                   1,234,567         9.88  12.30     -       5.00       6.00  rows/s\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := sample.Markdown(&b, "holdfast bench", "abcdef123456"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Bench, 2026-11-21\n", "- commit: abcdef123456\n", "- command: `holdfast bench`\n", "- time: 2026-11-21T10:11:12Z\n",
		"- CPUs: 2 Some CPU\n", "- kernel: Linux 6.18\n", "- file system: ext4\n", "- Go: go1.26 linux/amd64\n",
		"| append/1 | 14,123 | 15,000 | rows/s | 0.94 | 0.9 | 62.3 | 1,234 | 60.0 | 120 | 16,000 |\n",
		"| wire/copy | 1,234,567 | 9.88 | rows/s | 12.30 | - | 5.00 | 6.00 | 0.00 | 0.00 | 1,000 |\n",
		"|---|--:|--:|--:|\n| wire/copy | 4.00 | 3.00 | 0.75 |\n\nBaselines:",
		"- append/1: write and flush alone\n", "- one is left out\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}
