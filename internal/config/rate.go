package config

import (
	"strings"
	"time"
)

// Rate is bytes per second, written as a size and "/s"; 0 is written "off".
type Rate int64

// String returns a form that scan reads.
func (r Rate) String() string {
	if r == 0 {
		return "off"
	}
	return Size(r).String() + "/s"
}

const rateHint = `write a size per second, like "8 MB/s", or "off"`

func (r *Rate) scan(text string) error {
	t := strings.TrimSpace(text)
	if t == "off" || t == "false" { // YAML of old takes the word for a boolean
		*r = 0
		return nil
	}
	size, ok := strings.CutSuffix(t, "/s")
	if !ok {
		return wrong(rateHint, "rate %q is neither per second nor off", text)
	}
	n, err := ParseSize(size)
	if err != nil {
		return wrong(rateHint, "rate %q is not a size per second", text)
	}
	if n < minRate {
		return wrong("at least 64 KB/s; or off", "rate %q would never come round", text)
	}
	*r = Rate(n)
	return nil
}

// minRate is the slowest rate: 1 GiB takes over four hours with it.
const minRate Size = 64 << 10

func (*Rate) shape() map[string]any {
	return map[string]any{"type": []string{"string", "boolean"}, "pattern": `^(off|.*/s)$`}
}

// Days is a length of time that may be much longer than a Duration, written
// the same: "24h".
type Days time.Duration

// maxDays bounds Days: what is done less often than once a year is not done.
const maxDays = 366 * 24 * time.Hour

// String returns Go's form.
func (d Days) String() string { return time.Duration(d).String() }

func (d *Days) scan(text string) error {
	n, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	switch {
	case err != nil:
		return wrong(`write a number and a unit, like "24h"`, "%q is not a length of time", text)
	case n < time.Second || n > maxDays:
		return wrong("from 1s to 8784h", "length of time %q is out of range", text)
	}
	*d = Days(n)
	return nil
}

func (*Days) shape() map[string]any { return map[string]any{"type": "string"} }
