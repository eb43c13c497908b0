package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// scalar is a value written as one YAML scalar. scan replaces the receiver
// only when it returns nil.
type scalar interface {
	scan(text string) error
	// shape returns the value's JSON Schema, without its description.
	shape() map[string]any
}

var (
	_ scalar = (*Size)(nil)
	_ scalar = (*MinFree)(nil)
	_ scalar = (*Duration)(nil)
	_ scalar = (*Rate)(nil)
	_ scalar = (*Days)(nil)
	_ scalar = (*Hot)(nil)
	_ scalar = (*Address)(nil)
	_ scalar = (*Glob)(nil)
	_ scalar = (*URL)(nil)
	_ scalar = (*OnFull)(nil)
	_ scalar = (*Keep)(nil)
	_ scalar = (*OnRewind)(nil)
	_ scalar = (*SinkType)(nil)
	_ scalar = (*Start)(nil)
	_ scalar = (*Unit)(nil)
	_ scalar = (*Create)(nil)
	_ scalar = (*Compress)(nil)
	_ scalar = (*Name)(nil)
	_ scalar = (*Added)(nil)
	_ scalar = (*Flood)(nil)
	_ scalar = (*Mode)(nil)
	_ scalar = (*Pattern)(nil)
	_ scalar = (*Profile)(nil)
	_ scalar = (*Column)(nil)
	_ scalar = (*Marks)(nil)
	_ scalar = (*Zone)(nil)
	_ scalar = (*TimeZone)(nil)
	_ scalar = (*Times)(nil)
	_ scalar = (*LogFormat)(nil)
	_ scalar = (*Verifier)(nil)
	_ scalar = (*Hash)(nil)
	_ scalar = (*CommonName)(nil)
	_ scalar = (*LogLevel)(nil)
	_ scalar = (*Link)(nil)
	_ scalar = (*StreamName)(nil)
	_ scalar = (*Age)(nil)
	_ scalar = (*Scheduled)(nil)
	_ scalar = (*Backup)(nil)
)

// MinFree is how much of a volume is left free: the smaller of what its set
// fields say.
type MinFree struct {
	Percent float64 // of the volume; 0 is unset
	Bytes   Size    // 0 is unset where Percent is set
}

// defaultMinFree keeps a small volume usable and wastes little of a large one.
var defaultMinFree = MinFree{Percent: 5, Bytes: 10 << 30}

// Of returns the bytes to leave free on a volume of total bytes.
func (m MinFree) Of(total int64) int64 {
	share := int64(float64(total) * m.Percent / 100)
	switch {
	case m.Percent == 0:
		return int64(m.Bytes)
	case m.Bytes == 0:
		return share
	}
	return min(share, int64(m.Bytes))
}

// String returns a form that scan reads.
func (m MinFree) String() string {
	percent := strconv.FormatFloat(m.Percent, 'g', -1, 64) + "%"
	switch {
	case m.Percent == 0:
		return m.Bytes.String()
	case m.Bytes == 0:
		return percent
	}
	return "min(" + percent + ", " + m.Bytes.String() + ")"
}

func (m *MinFree) scan(text string) error {
	t := strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(t, "min("); ok && strings.HasSuffix(inner, ")") {
		share, size, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ",")
		p, err := parsePercent(share)
		if err != nil {
			return err
		}
		s, err := ParseSize(size)
		if err != nil {
			return err
		}
		if p == 0 || s == 0 {
			return wrong(`write "0" alone to keep nothing free`, "min_free %q takes the smaller of two, and one is 0", text)
		}
		*m = MinFree{Percent: p, Bytes: s}
		return nil
	}
	if strings.HasSuffix(t, "%") {
		p, err := parsePercent(t)
		if err == nil {
			*m = MinFree{Percent: p}
		}
		return err
	}
	s, err := ParseSize(t)
	if err == nil {
		*m = MinFree{Bytes: s}
	}
	return err
}

func parsePercent(text string) (float64, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	p, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || math.IsNaN(p) || p < 0 || p > 90 {
		return 0, wrong(`write a percentage from 0 to 90, like "5%"`, "percentage %q is not one that can be kept free", text)
	}
	return p, nil
}

func (*MinFree) shape() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "maximum": 0, "minimum": 0}
}

// Duration is a length of time, written as Go does: "5s", "1m30s".
type Duration time.Duration

// maxDuration bounds wait and drain: longer ones outlast every client and
// every service manager.
const maxDuration = time.Hour

// String returns Go's form.
func (d Duration) String() string { return time.Duration(d).String() }

func (d *Duration) scan(text string) error {
	n, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	switch {
	case err != nil:
		return wrong(`write a number and a unit, like "5s" or "500ms"`, "%q is not a length of time", text)
	case n < 0 || n > maxDuration:
		return wrong("from 0s to 1h", "length of time %q is out of range", text)
	}
	*d = Duration(n)
	return nil
}

func (*Duration) shape() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "maximum": 0, "minimum": 0}
}

// Hot is where a stream's segments are written, and how many bytes they may
// take.
type Hot struct {
	Place
	More []Place // further ones; each new segment is written where the most room is
}

// Place is one directory of a tier.
type Place struct {
	Path  string
	Size  Size // what it may take; 0: only min_free bounds it
	Exist bool // written with ==: the directory must be there already, so that an unmounted volume is noticed
}

// Places returns all directories.
func (h Hot) Places() []Place { return append([]Place{h.Place}, h.More...) }

// Budget returns what all of them may take; 0: one of them has no size.
func (h Hot) Budget() Size {
	total := h.Size
	for _, p := range h.More {
		if total == 0 || p.Size == 0 {
			return 0
		}
		total += p.Size
	}
	return total
}

// minBudget is the smallest budget of a stream: a segment is at least 1 MiB
// and a 32nd of the budget.
const minBudget Size = 32 << 20

// String returns a form that scan reads.
func (h Hot) String() string {
	var parts []string
	for _, p := range h.Places() {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, ";")
}

// String returns a form that scan reads.
func (p Place) String() string {
	switch {
	case p.Size == 0:
		return p.Path
	case p.Exist:
		return p.Path + "==" + p.Size.String()
	}
	return p.Path + "=" + p.Size.String()
}

// maxPlaces bounds what one tier names.
const maxPlaces = 256

func (h *Hot) scan(text string) error {
	parts := strings.Split(text, ";")
	if len(parts) > maxPlaces {
		return wrong(fmt.Sprintf("name up to %d", maxPlaces), "%d directories are too many", len(parts))
	}
	var all []Place
	for _, part := range parts {
		p, err := scanPlace(part)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(o Place) bool { return o.Path == p.Path }) {
			return wrong("name each directory once", "directory %q is named twice", p.Path)
		}
		all = append(all, p)
	}
	*h = Hot{Place: all[0]}
	if len(all) > 1 {
		h.More = all[1:]
	}
	return nil
}

// scanPlace reads path[(=|==)size].
func scanPlace(text string) (Place, error) {
	dir, size, sized := strings.Cut(text, "=")
	n := Place{Path: strings.TrimSpace(dir)}
	if sized {
		size, n.Exist = strings.CutPrefix(size, "=")
		s, err := ParseSize(size)
		if err != nil {
			return n, err
		}
		if s < minBudget {
			return n, wrong("give it at least 32 MB", "budget %q is too small for a stream", strings.TrimSpace(size))
		}
		n.Size = s
	}
	return n, checkPath(n.Path)
}

func (*Hot) shape() map[string]any {
	const one = "[^;=]+(==?[^;=]+)?"
	return map[string]any{"type": "string", "pattern": "^" + one + "(;" + one + ")*$"}
}

// checkPath refuses what no file system takes as a path.
func checkPath(p string) error {
	switch {
	case p == "":
		return wrong("", "the path is empty")
	case strings.ContainsFunc(p, unicode.IsControl):
		return wrong("", "path %q holds a control character", p)
	case strings.TrimSpace(p) != p:
		return wrong("", "path %q begins or ends with a space", p)
	case !utf8.ValidString(p):
		return wrong("", "path %q is not UTF-8", p)
	case len(p) > 4000:
		return wrong("the system takes up to 4095 bytes", "path %q... is too long", p[:40])
	}
	for _, part := range strings.Split(filepath.ToSlash(p), "/") {
		if len(part) > 255 {
			return wrong("the system takes up to 255 bytes per name", "path %q... has a name that is too long", p[:40])
		}
	}
	return nil
}

// Address is host:port of a door. No host stands for every address that the
// machine has.
type Address string

func (a *Address) scan(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return wrong(`write host:port, like "127.0.0.1:5433"`, "%q is not an address", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return wrong("a port is a number from 0 to 65535", "address %q has no usable port", text)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return wrong(`write an IP address, like "127.0.0.1"`, "%q in address %q is not an IP address", host, text)
	}
	*a = Address(text)
	return nil
}

func (*Address) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": ":[0-9]+$"}
}

// Glob is a table's name, or a pattern of names as path.Match reads it.
type Glob string

func (g *Glob) scan(text string) error {
	if text == "" || strings.ContainsAny(text, "/\x00") {
		return wrong("", "%q is not a table's name or a pattern of names", text)
	}
	if _, err := path.Match(text, ""); err != nil {
		return wrong(`* stands for any characters, ? for any one, [a-z] for one of a range`, "pattern %q does not end", text)
	}
	*g = Glob(text)
	return nil
}

func (*Glob) shape() map[string]any { return map[string]any{"type": "string", "pattern": "^[^/]+$"} }

// URL says where a sink is. It may hold a password, so it is printed without.
type URL string

// String returns the URL with its password hidden, and for HTTP all that a
// query says, where receivers have their tokens.
func (u URL) String() string {
	p, err := url.Parse(string(u))
	if err != nil {
		return "(hidden)"
	}
	web := p.Scheme == "http" || p.Scheme == "https"
	q := p.Query()
	for name := range q {
		if web || name == "password" {
			q.Set(name, "xxxxx")
		}
	}
	if web || q.Has("password") {
		p.RawQuery = q.Encode()
	}
	return p.Redacted()
}

func (u *URL) scan(text string) error {
	if _, err := url.Parse(text); err != nil || text == "" {
		// The text may hold a password, so it is not repeated.
		return wrong(`write it like "sqlite:/var/lib/holdfast/rows.db"`, "the url cannot be read")
	}
	*u = URL(text)
	return nil
}

func (*URL) shape() map[string]any { return map[string]any{"type": "string", "minLength": 1} }

// set applies "json", "debug" or "json,debug".
func (l *Log) set(text string) error {
	n := *l
	for _, word := range strings.Split(text, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		switch {
		case text == "":
		case slices.Contains(logFormats, word):
			n.Format = LogFormat(word)
		case slices.Contains(logLevels, word):
			n.Level = LogLevel(word)
		default:
			return wrong(didYouMean(word, slices.Concat(logFormats, logLevels)), "log %q is neither a format nor a level", word)
		}
	}
	*l = n
	return nil
}

// pick is scan for a value that is one of a few words.
func pick(what, text string, words []string) error {
	if slices.Contains(words, text) {
		return nil
	}
	hint := didYouMean(text, words)
	if hint != "" && !strings.HasPrefix(hint, "did") {
		hint = "one of " + strings.Join(words, ", ")
	}
	return wrong(hint, "%s %q is not known", what, text)
}

func enum(words []string) map[string]any {
	return map[string]any{"type": "string", "enum": words}
}
