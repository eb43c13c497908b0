package config

import (
	"strings"
	"testing"
)

// TestIndexes holds what an index may be, and what is said of one that may not.
func TestIndexes(t *testing.T) {
	for text, says := range map[string]string{
		"streams: {main: {index: {columns: [a, b], dir: /ssd/x==20 GB}}}":                                      "",
		"streams: {main: {index: {columns: [a], size: 1 GB}}}":                                                 "",
		"streams: {main: {index: {dir: /ssd/x}}}":                                                              "names no column",
		"streams: {main: {index: {columns: [a, a]}}}":                                                          "named twice",
		"streams: {main: {index: {columns: [a], dir: /x=1 GB, size: 1 GB}}}":                                   "beside the segments",
		"streams: {main: {index: {columns: [a], dir: /x;/y}}}":                                                 "one directory",
		"streams: {main: {hot: /x, index: {columns: [a], dir: /x/y}}}":                                         "overlaps",
		"streams: {main: {index: {columns: [a], dir: /ssd/x=2 GB, warm: /hdd/x==20 GB}}}":                      "",
		"streams: {main: {index: {columns: [a], size: 1 GB, warm: /hdd/x}}}":                                   "",
		"streams: {main: {index: {warm: /ssd/x}}}":                                                             "names no column",
		"streams: {main: {index: {columns: [a], warm: /x;/y}}}":                                                "one directory",
		"streams: {main: {index: {columns: [a], dir: /x, warm: /x/y}}}":                                        "overlaps",
		"streams: {main: {warm: /x, index: {columns: [a], warm: /x}}}":                                         "overlaps",
		"streams: {main: {index: {columns: [a], warm: /x}}, b: {tables: [b], index: {columns: [a], dir: /x}}}": "overlaps",
		"streams: {rejects: {index: {columns: [a]}}}":                                                          "has no index",
		"streams: {main: {index: {columns: [a], dir: /x}}, b: {tables: [b], index: {columns: [a], dir: /x}}}":  "overlaps",
		"streams: {main: {index: {columns: [" + strings.Repeat("a,", 40) + "a]}}}":                             "more than 32",
	} {
		_, err := Parse("f", []byte(text))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}
