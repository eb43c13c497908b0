package pgwire

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// serverVersion begins with a version that drivers know how to talk to.
const serverVersion = "15.0 (Holdfast)"

// setting is one configuration parameter.
type setting struct {
	name     string // as PostgreSQL spells it
	value    string // by default
	reported bool   // sent as ParameterStatus at the start and on a change
	fixed    bool   // cannot be set to anything else
	check    func(value string) (string, *fault.Error)
}

// known are the parameters that clients set or ask for. Those without a check
// are kept and shown, and mean nothing here.
var known = func() map[string]*setting {
	m := make(map[string]*setting)
	for _, s := range []setting{
		{"application_name", "", true, false, nil},
		{"client_encoding", "UTF8", true, false, checkEncoding},
		{"DateStyle", "ISO, MDY", true, false, checkDateStyle},
		{"default_transaction_read_only", "off", true, false, checkBool},
		{"in_hot_standby", "off", true, true, nil},
		{"integer_datetimes", "on", true, true, nil},
		{"IntervalStyle", "postgres", true, false, nil},
		{"is_superuser", "off", true, true, nil},
		{"server_encoding", "UTF8", true, true, nil},
		{"server_version", serverVersion, true, true, nil},
		{"session_authorization", "", true, false, checkUser},
		{"standard_conforming_strings", "on", true, false, checkStrings},
		{"TimeZone", "UTC", true, false, checkZone},
		{"synchronous_commit", "on", false, false, checkCommit},
		{"transaction_read_only", "off", false, false, checkBool},
		{"transaction_isolation", "read committed", false, false, nil},
		{"server_version_num", "150000", false, true, nil},
		{"max_identifier_length", strconv.Itoa(maxName), false, true, nil},
	} {
		m[strings.ToLower(s.name)] = &s
	}
	for _, line := range []string{
		"bytea_output=hex", "extra_float_digits=1", "statement_timeout=0", "lock_timeout=0",
		"idle_in_transaction_session_timeout=0", "idle_session_timeout=0", `search_path="$user", public`,
		"client_min_messages=notice", "default_transaction_isolation=read committed",
		"default_transaction_deferrable=off", "transaction_deferrable=off", "escape_string_warning=on",
		"backslash_quote=safe_encoding", "row_security=on", "check_function_bodies=on", "xmloption=content",
		"default_tablespace=", "default_table_access_method=heap", "default_toast_compression=pglz",
		"session_replication_role=origin", "quote_all_identifiers=off", "lc_messages=C", "lc_monetary=C",
		"lc_numeric=C", "lc_time=C", "jit=off", "work_mem=4MB", "maintenance_work_mem=64MB", "commit_delay=0",
		"commit_siblings=5", "geqo=on", "random_page_cost=4", "tcp_keepalives_idle=0",
		"tcp_keepalives_interval=0", "tcp_keepalives_count=0", "tcp_user_timeout=0",
		"client_connection_check_interval=0", "log_statement=none", "log_min_duration_statement=-1",
		"log_min_messages=warning", "log_min_error_statement=error", "role=none",
	} {
		name, value, _ := strings.Cut(line, "=")
		m[name] = &setting{name: name, value: value}
	}
	m["role"].check = func(v string) (string, *fault.Error) {
		if v == "none" {
			return v, nil
		}
		return checkUser(v)
	}
	return m
}()

func badValue(name, value string) *fault.Error {
	return fault.New(fault.InvalidParameterValue, "invalid value for parameter %q: %q", name, value)
}

// checkUser refuses to be somebody else.
func checkUser(string) (string, *fault.Error) {
	return "", fault.New(fault.FeatureNotSupported, "roles cannot be changed").WithHint("connect as the other user")
}

func checkBool(v string) (string, *fault.Error) {
	on, ok := parseBool(v)
	if !ok {
		return "", badValue("boolean", v).WithHint("it is on or off")
	}
	if on {
		return "on", nil
	}
	return "off", nil
}

func parseBool(v string) (on, ok bool) {
	switch strings.ToLower(v) {
	case "on", "true", "yes", "1", "t", "y":
		return true, true
	case "off", "false", "no", "0", "f", "n":
		return false, true
	}
	return false, false
}

// checkDateStyle refuses orders in which 01/02/2026 would mean another day
// than it means to the sinks.
func checkDateStyle(v string) (string, *fault.Error) {
	for part := range strings.SplitSeq(strings.ToLower(v), ",") {
		switch strings.TrimSpace(part) {
		case "iso", "mdy", "us", "noneuro", "noneuropean", "default":
		default:
			return "", badValue("DateStyle", v).WithHint("dates are taken as ISO, MDY only: write them as 2026-12-31")
		}
	}
	return "ISO, MDY", nil
}

func checkStrings(v string) (string, *fault.Error) {
	if on, ok := parseBool(v); !ok || !on {
		return "", badValue("standard_conforming_strings", v).WithHint("it is always on: write backslash escapes as E'...'")
	}
	return "on", nil
}

func checkCommit(v string) (string, *fault.Error) {
	switch v = strings.ToLower(v); v {
	case "local", "remote_write", "remote_apply":
		return v, nil
	}
	b, err := checkBool(v)
	if err != nil {
		return "", badValue("synchronous_commit", v).WithHint("it is on, off, local, remote_write or remote_apply; all but off wait for the disk")
	}
	return b, nil
}

func checkZone(v string) (string, *fault.Error) {
	if _, err := zoneOf(v); err != nil {
		return "", badValue("TimeZone", v).WithHint("name a zone like Europe/Berlin, or an offset like +02")
	}
	return v, nil
}

// zoneOf returns a zone by its name, or by its offset in hours east of
// Greenwich.
func zoneOf(v string) (*time.Location, error) {
	if hours, err := strconv.ParseFloat(v, 64); err == nil && -16 < hours && hours < 16 {
		return time.FixedZone(v, int(hours*3600)), nil
	}
	if strings.EqualFold(v, "utc") || strings.EqualFold(v, "gmt") || strings.EqualFold(v, "z") {
		return time.UTC, nil
	}
	if v == "" || strings.EqualFold(v, "local") {
		return nil, badValue("TimeZone", v)
	}
	return time.LoadLocation(v)
}

// settings are a session's parameters.
type settings struct {
	text  converter         // of what the client sends
	set   map[string]string // what differs from the default, by lower-case name
	start map[string]string // what RESET goes back to

	inBlock bool              // before is in use
	before  map[string]string // what a ROLLBACK goes back to
	local   map[string]string // what SET LOCAL hid, and the transaction's end brings back

	async bool // synchronous_commit is off
	zone  *time.Location
}

func (g *settings) init() { g.zone = time.UTC }

// get returns the value of a lower-case name.
func (g *settings) get(name string) (string, bool) {
	if v, ok := g.set[name]; ok {
		return v, true
	}
	if k, ok := known[name]; ok {
		return k.value, true
	}
	return "", false
}

// is reports whether name has the value.
func (g *settings) is(name, value string) bool {
	if len(g.set) == 0 {
		return known[name].value == value
	}
	v, _ := g.get(name)
	return v == value
}

// check returns the value in the form that it is kept in.
func (g *settings) check(name, value string) (string, error) {
	k, ok := known[name]
	switch {
	case !ok && strings.Contains(name, "."):
		// A name of its own: PostgreSQL keeps such for extensions.
	case !ok:
		return "", fault.New(fault.UndefinedObject, "unrecognized configuration parameter %q", name)
	case k.fixed && value != k.value:
		return "", fault.New("55P02", "parameter %q cannot be changed", k.name).WithHint("it is always %q", k.value)
	case k.check != nil:
		v, err := k.check(value)
		if err != nil {
			return "", err
		}
		value = v
	}
	if len(value) > maxSetting || len(g.set) >= maxSettings {
		return "", fault.New(fault.LimitExceeded, "parameter %q has %d bytes", name, len(value)).
			WithHint("at most %d parameters of %d bytes are kept", maxSettings, maxSetting)
	}
	return value, nil
}

const (
	maxSetting  = 1 << 10
	maxSettings = 256
)

// assign keeps a checked value; "" with reset goes back to the start's.
func (g *settings) assign(name, value string, reset bool) {
	if !g.inBlock {
		g.before, g.inBlock = maps.Clone(g.set), true
	}
	if reset {
		var ok bool
		if value, ok = g.start[name]; !ok {
			g.set = maps.Clone(g.set)
			delete(g.set, name)
			g.refresh()
			return
		}
	}
	g.change(&g.set, name, value)
	g.refresh()
}

// change replaces a map by one with another value: savepoints hold the old one.
func (g *settings) change(m *map[string]string, name, value string) {
	next := make(map[string]string, len(*m)+1)
	maps.Copy(next, *m)
	next[name] = value
	*m = next
}

// assignLocal keeps a value up to the transaction's end.
func (g *settings) assignLocal(name, value string) {
	if _, ok := g.local[name]; !ok {
		old, had := g.set[name]
		if !had {
			old = unset
		}
		g.change(&g.local, name, old)
	}
	g.assign(name, value, false)
}

// endTx takes SET LOCAL back, and after a ROLLBACK every SET. It returns the
// names whose values changed by that.
func (g *settings) endTx(committed bool) (changed []string) {
	if !g.inBlock {
		return nil
	}
	after := g.before
	if committed {
		after = maps.Clone(g.set)
		for name, old := range g.local {
			if old == unset {
				delete(after, name)
			} else {
				after[name] = old
			}
		}
	}
	changed = g.back(after, nil)
	g.inBlock, g.before = false, nil
	return changed
}

// back replaces what is set, and returns the names whose values changed by that.
func (g *settings) back(set, local map[string]string) (changed []string) {
	for name := range known {
		was, _ := g.get(name)
		if is, ok := set[name]; ok && is != was || !ok && known[name].value != was {
			changed = append(changed, name)
		}
	}
	g.set, g.local = set, local
	g.refresh()
	slices.Sort(changed)
	return changed
}

// unset stands for a setting that had no value of its own; no value has a NUL.
const unset = "\x00"

// refresh derives what the hot path asks for.
func (g *settings) refresh() {
	g.async = g.is("synchronous_commit", "off")
	encoding, _ := g.get("client_encoding")
	g.text.use(encoding)
	v, _ := g.get("timezone")
	zone, err := zoneOf(v)
	if err != nil {
		zone = time.UTC // only a checked value gets here
	}
	g.zone = zone
}
