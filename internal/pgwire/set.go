package pgwire

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
)

// setStatement is SET, SET LOCAL and RESET.
type setStatement struct {
	name  string // lower-case
	value string
	reset bool // to the start's value
	local bool
	tag   string
}

func readSet(l *lexer, _ *session) (statement, error) {
	l.keyword("set")
	st := &setStatement{tag: "SET"}
	switch {
	case l.keywords("session", "characteristics", "as", "transaction"), l.keyword("transaction"):
		return modes(l)
	case l.keyword("session"):
	case l.keyword("local"):
		st.local = true
	}
	switch {
	case l.keywords("time", "zone"):
		return st.zone(l)
	case l.keyword("names"):
		st.name = "client_encoding"
		return st, st.read(l)
	case l.keyword("authorization"):
		st.name = "session_authorization"
		return st, st.readOnly(l)
	case l.keyword("role"):
		st.name = "role"
		return st, st.readOnly(l)
	case fold(l.word(), "constraints"):
		return nil, l.refuse("there are no constraints here", insertOnly)
	}
	var err error
	if st.name, err = l.settingName(); err != nil {
		return nil, err
	}
	if !l.punct('=') && !l.keyword("to") {
		return nil, l.syntax()
	}
	return st, st.read(l)
}

// modes reads SET TRANSACTION, whose isolation means nothing to rows that
// nobody reads.
func modes(l *lexer) (statement, error) {
	if fold(l.word(), "snapshot") {
		return nil, l.refuse("snapshots are not known", insertOnly)
	}
	t := new(transactionStatement)
	if err := t.options(l); err != nil {
		return nil, err
	}
	return accessMode(t.readOnly), nil
}

// accessMode sets whether the block takes rows.
type accessMode bool

func (m accessMode) run(s *session, _ *portal) error {
	if s.state == inBlock {
		s.readOnly = bool(m)
	}
	s.complete("SET")
	return nil
}

// settingName reads a parameter's name, which may have a dot.
func (l *lexer) settingName() (string, error) {
	n, err := l.name()
	if err == nil && l.at(0) == '.' {
		l.pos++
		var rest string
		rest, err = l.name()
		n += "." + rest
	}
	return strings.ToLower(n), err
}

// read reads the values up to the end.
func (st *setStatement) read(l *lexer) error {
	if l.keyword("default") {
		st.reset = true
		return l.wantEnd()
	}
	var parts []string
	for {
		v, err := l.settingValue()
		if err != nil {
			return err
		}
		parts = append(parts, v)
		if !l.punct(',') {
			break
		}
	}
	st.value = strings.Join(parts, ", ")
	return l.wantEnd()
}

func (l *lexer) settingValue() (string, error) {
	l.space()
	if l.pos < len(l.src) && stringAhead(l) {
		var scratch []byte
		v, _, err := l.literal(&scratch)
		return string(v), err
	}
	if w := l.word(); w != nil {
		l.pos += len(w)
		return string(w), nil
	}
	if l.at(0) == '"' {
		return l.name()
	}
	at := l.pos
	if c := l.at(0); c == '-' || c == '+' {
		l.pos++
	}
	if _, err := l.number(); err != nil {
		return "", err
	}
	return string(l.src[at:l.pos]), nil
}

// zone reads SET TIME ZONE.
func (st *setStatement) zone(l *lexer) (statement, error) {
	st.name = "timezone"
	if l.keyword("local") {
		st.reset = true
		return st, l.wantEnd()
	}
	if l.keyword("interval") {
		return nil, l.refuse("a time zone as an interval is not taken", "write the offset in hours")
	}
	return st, st.read(l)
}

// readOnly reads a role, of which there is only the user's own.
func (st *setStatement) readOnly(l *lexer) error {
	at := l.pos
	if l.keyword("none") {
		st.reset = true
		return l.wantEnd()
	}
	if err := st.read(l); err != nil || st.reset {
		return err
	}
	if strings.EqualFold(st.value, "none") {
		st.reset = true
		return nil
	}
	l.pos = at
	return l.refuse("roles cannot be changed", "connect as the other user")
}

func readReset(l *lexer, _ *session) (statement, error) {
	l.keyword("reset")
	st := &setStatement{reset: true, tag: "RESET"}
	switch {
	case l.keyword("all"):
		st.name = "all"
	case l.keywords("session", "authorization"):
		st.name = "session_authorization"
	case l.keywords("time", "zone"):
		st.name = "timezone"
	default:
		var err error
		if st.name, err = l.settingName(); err != nil {
			return nil, err
		}
	}
	return st, l.wantEnd()
}

func (st *setStatement) run(s *session, _ *portal) error {
	if st.name == "all" {
		s.resetAll()
	} else if err := s.assign(st); err != nil {
		return err
	}
	s.complete(st.tag)
	return nil
}

// assign does a SET, and reports the change where PostgreSQL does.
func (s *session) assign(st *setStatement) error {
	value := st.value
	if !st.reset {
		var err error
		if value, err = s.settings.check(st.name, value); err != nil {
			return err
		}
	} else if _, ok := s.settings.get(st.name); !ok {
		return fault.New(fault.UndefinedObject, "unrecognized configuration parameter %q", st.name)
	}
	switch {
	case st.local && s.state == idle:
		s.notice("WARNING", fault.NoActiveTransaction, "SET LOCAL can only be used in transaction blocks")
	case st.name == "transaction_read_only" && s.state != idle:
		s.readOnly = value == "on"
	case st.local && !st.reset:
		s.settings.assignLocal(st.name, value)
	default:
		s.settings.assign(st.name, value, st.reset)
	}
	s.parameter(st.name)
	return nil
}

// resetAll goes back to the settings of the start.
func (s *session) resetAll() {
	for _, name := range slices.Sorted(maps.Keys(s.settings.set)) {
		was, _ := s.settings.get(name)
		s.settings.assign(name, "", true)
		if is, _ := s.settings.get(name); is != was {
			s.parameter(name)
		}
	}
}

// parameter adds a ParameterStatus for a setting that is reported.
func (s *session) parameter(name string) {
	if k := known[name]; k != nil && k.reported {
		v, _ := s.settings.get(name)
		if k.name == "application_name" {
			s.seen.application.Store(&v)
		}
		s.send(&pgproto3.ParameterStatus{Name: k.name, Value: v})
	}
}

// readShow reads SHOW name.
func readShow(l *lexer, s *session) (statement, error) {
	l.keyword("show")
	var name string
	var err error
	switch {
	case l.keywords("transaction", "isolation", "level"):
		name = "transaction_isolation"
	case l.keywords("time", "zone"):
		name = "timezone"
	case l.keywords("session", "authorization"):
		name = "session_authorization"
	case fold(l.word(), "all"):
		return nil, l.refuse("SHOW ALL is not answered", "ask for one parameter")
	default:
		if name, err = l.settingName(); err != nil {
			return nil, err
		}
	}
	if _, err := s.shown(name); err != nil {
		return nil, err
	}
	return &answer{tag: "SHOW", items: []expression{{name: name, oid: oidText, eval: func(s *session) (string, error) {
		return s.shown(name)
	}}}}, l.wantEnd()
}

// shown returns a setting's value.
func (s *session) shown(name string) (string, error) {
	name = strings.ToLower(name)
	if name == "transaction_read_only" {
		return onOff(s.readOnly || s.settings.is("default_transaction_read_only", "on")), nil
	}
	v, ok := s.settings.get(name)
	if !ok {
		return "", fault.New(fault.UndefinedObject, "unrecognized configuration parameter %q", name)
	}
	return v, nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// startParameters adds the ParameterStatus of every reported setting, in the
// order of their names.
func (s *session) startParameters() {
	var names []string
	for n, k := range known {
		if k.reported {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		s.parameter(n)
	}
}

// startOptions reads the start-up parameter "options": -c name=value, or
// --name=value, blanks escaped by backslashes.
func startOptions(text string) ([][2]string, error) {
	var words []string
	var w []byte
	flush := func() {
		if len(w) > 0 {
			words, w = append(words, string(w)), nil
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			w = append(w, text[i])
		case class[c]&isSpace != 0:
			flush()
		default:
			w = append(w, c)
		}
	}
	flush()
	var out [][2]string
	for i := 0; i < len(words); i++ {
		arg, ok := strings.CutPrefix(words[i], "--")
		if !ok {
			if arg, ok = strings.CutPrefix(words[i], "-c"); ok && arg == "" && i+1 < len(words) {
				i++
				arg = words[i]
			}
		}
		name, value, eq := strings.Cut(arg, "=")
		if !ok || !eq || name == "" {
			return nil, fault.New(fault.SyntaxError, "invalid command-line argument for server process: %q", words[i]).
				WithHint("options are written as -c name=value")
		}
		out = append(out, [2]string{strings.ToLower(string(bytes.ReplaceAll([]byte(name), []byte("-"), []byte("_")))), value})
	}
	return out, nil
}
