package config

import (
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// Flood is a percentage of rows; 0 is written "off".
type Flood float64

// String returns a form that scan reads.
func (f Flood) String() string {
	if f == 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(f), 'g', -1, 64) + "%"
}

func (f *Flood) scan(text string) error {
	t := strings.TrimSpace(text)
	if t == "off" || t == "false" { // YAML of old takes the word for a boolean
		*f = 0
		return nil
	}
	digits, ok := strings.CutSuffix(t, "%")
	p, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || math.IsNaN(p) || p <= 0 || p > 100 {
		return wrong(`write a percentage up to 100, like "1%", or "off"`, "reject_flood %q is neither a share nor off", text)
	}
	*f = Flood(p)
	return nil
}

func (*Flood) shape() map[string]any {
	return map[string]any{"type": []string{"string", "boolean"}, "pattern": `^\s*(off|[0-9.]+\s*%)\s*$`}
}

// Mode is the permissions of a file.
type Mode uint32

// defaultMode lets the group read, since flat files are for other programs.
const defaultMode Mode = 0o640

// String returns the octal form.
func (m Mode) String() string { return "0" + strconv.FormatUint(uint64(m), 8) }

// Perm returns the permissions as the system has them.
func (m Mode) Perm() fs.FileMode { return fs.FileMode(m) }

func (m *Mode) scan(text string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return wrong(`write it in octal, like "0640"`, "mode %q is not one of a file", text)
	}
	if n&0o600 != 0o600 || n&0o111 != 0 || n&0o002 != 0 {
		return wrong(`like "0640": who writes must read and write, others may at most read, nobody runs it`, "mode %q does not fit a flat file", text)
	}
	*m = Mode(n)
	return nil
}

func (*Mode) shape() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "pattern": `^0?o?[0-7]{3}$`}
}

// Pattern is how flat files are named: a relative path with strftime's letters
// and {table} and {n}.
type Pattern string

func (p *Pattern) scan(text string) error {
	if err := checkPath(text); err != nil {
		return err
	}
	if strings.HasPrefix(text, "/") || strings.Contains("/"+text+"/", "/../") {
		return wrong("the directory stands in the url", "file %q leads out of the directory", text)
	}
	if !strings.Contains(text, "{table}") || !strings.Contains(text, "{n}") {
		return wrong(`like "{table}_{n}-%Y%m%d.log"`, "file %q lacks {table} or {n}, so that tables or writers would share a file", text)
	}
	*p = Pattern(text)
	return nil
}

func (*Pattern) shape() map[string]any { return map[string]any{"type": "string", "pattern": "^[^/]"} }

// defaultTimeout bounds how long an HTTP sink may take to answer: long enough
// for a receiver that commits, short enough to notice one that hangs.
const defaultTimeout = Duration(30 * time.Second)
