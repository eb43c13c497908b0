package mywire

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// ask answers a SELECT or a SHOW; nil for any other statement, at whose
// beginning l still stands.
func (s *session) ask(l *lexer) (*result, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	at := l.pos
	switch {
	case l.keyword("select"):
		return s.selection(l)
	case l.keyword("show"):
		return s.showing(l)
	}
	l.pos = at
	return nil, nil
}

// choose runs what is behind SELECT.
func (s *session) choose(l *lexer) error {
	r, err := s.selection(l)
	if err == nil {
		s.send(r, false)
	}
	return err
}

// show runs what is behind SHOW.
func (s *session) show(l *lexer) error {
	r, err := s.showing(l)
	if err == nil {
		s.send(r, false)
	}
	return err
}

const noReading = "rows cannot be read here: read them in the database behind; SELECT of constants and of @@variables is answered"

// maxSelected bounds the values of one SELECT.
const maxSelected = 256

// selection reads what is behind SELECT: values that clients ask at their
// start, and the version of Kamailio's tables.
func (s *session) selection(l *lexer) (*result, error) {
	if at := l.pos; s.asksVersion(l) {
		return s.tableVersion(l)
	} else if l.pos != at {
		l.pos = at
	}
	var columns []column
	var values []any
	for {
		start := l.pos
		v, err := s.selected(l)
		if err != nil {
			return nil, err
		}
		c := column{name: strings.TrimSpace(strings.ToValidUTF8(string(l.src[start:l.pos]), "?")), kind: typeString}
		if _, number := v.(int64); number {
			c.kind = typeLong
		}
		if w := l.word(); l.keyword("as") || len(w) > 0 && !fold(w, "from") && !fold(w, "limit") {
			if at := l.at(0); at == '\'' || at == '"' {
				var scratch []byte
				text, err := l.quoted(&scratch)
				if err != nil {
					return nil, err
				}
				c.name = string(text)
			} else if c.name, err = l.name(); err != nil {
				return nil, err
			}
		}
		if len(columns) == maxSelected {
			return nil, notHere("a SELECT of more than 256 values")
		}
		columns, values = append(columns, c), append(values, v)
		if !l.punct(',') {
			break
		}
	}
	if fold(l.word(), "from") && !l.keywords("from", "dual") {
		return nil, refuse(erOptionPrevents, "HY000", "SELECT from a table is not taken (hint: %s)", noReading)
	}
	if l.keyword("limit") {
		if _, err := l.number(); err != nil {
			return nil, err
		}
	}
	return one(columns, values), l.end()
}

// asksVersion skips "table_version from version where table_name =", which
// modules of Kamailio send, with any quotes.
func (s *session) asksVersion(l *lexer) bool {
	is := func(want string) bool {
		n, err := l.name()
		return err == nil && strings.EqualFold(n, want)
	}
	return is("table_version") && l.keyword("from") && is("version") && l.keyword("where") && is("table_name") && l.punct('=')
}

func (s *session) tableVersion(l *lexer) (*result, error) {
	if c := l.at(0); c != '\'' && c != '"' {
		return nil, l.syntax()
	}
	var scratch []byte
	table, err := l.quoted(&scratch)
	if err != nil {
		return nil, err
	}
	if err := l.end(); err != nil {
		return nil, err
	}
	r := &result{columns: []column{{"table_version", typeLong}}}
	if of := s.srv.o.TableVersion; of != nil {
		if v, ok := of(string(table)); ok {
			r.rows = [][]any{{int64(v)}}
		}
	}
	return r, nil
}

// selected reads one value.
func (s *session) selected(l *lexer) (any, error) {
	switch c := l.at(0); {
	case c == '\'' || c == '"':
		var scratch []byte
		text, err := l.quoted(&scratch)
		return strings.ToValidUTF8(string(text), "?"), err
	case isDigit(c), c == '-':
		text, err := l.number()
		if err != nil {
			return nil, err
		}
		if n, err := strconv.ParseInt(string(text), 10, 32); err == nil {
			return n, nil
		}
		return string(text), nil
	case c == '@' && l.at(1) == '@':
		l.pos += 2
		name, err := l.variable()
		if err != nil {
			return nil, err
		}
		return s.show1(name)
	case c == '@':
		l.pos++
		_, err := l.name()
		return nil, err
	}
	return s.called(l)
}

// variable reads the name of a system variable, behind @@ or not.
func (l *lexer) variable() (string, error) {
	n, err := l.name()
	for err == nil && l.punct('.') {
		if n = strings.ToLower(n); n == "global" {
			n = ""
		}
		n, err = l.name()
	}
	return strings.ToLower(n), err
}

// show1 returns a system variable.
func (s *session) show1(name string) (any, error) {
	v, ok := s.variableOf(name)
	if !ok {
		return nil, refuse(erUnknownVariable, "HY000", "Unknown system variable '%s'", clip([]byte(name)))
	}
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return n, nil
	}
	return v, nil
}

// called reads a function that clients ask.
func (s *session) called(l *lexer) (any, error) {
	at := l.pos
	w := strings.ToLower(string(l.word()))
	l.pos += len(w)
	l.skip()
	if (!l.punct('(') || !l.punct(')')) && w != "current_user" && w != "null" && w != "true" && w != "false" {
		l.pos = at
		return nil, refuse(erOptionPrevents, "HY000", "this SELECT is not taken (hint: %s)", noReading)
	}
	switch w {
	case "database", "schema":
		if s.database == "" {
			return nil, nil
		}
		return s.database, nil
	case "user", "current_user", "session_user", "system_user":
		return s.user + "@" + s.from.String(), nil
	case "version":
		return serverVersion, nil
	case "connection_id":
		return int64(s.id & 0x7fffffff), nil
	case "last_insert_id", "row_count", "false":
		return int64(0), nil
	case "true":
		return int64(1), nil
	case "null":
		return nil, nil
	case "now", "sysdate":
		return s.now.In(s.zone).Format("2006-01-02 15:04:05"), nil
	case "utc_timestamp":
		return s.now.UTC().Format("2006-01-02 15:04:05"), nil
	case "unix_timestamp":
		return strconv.FormatInt(s.now.Unix(), 10), nil
	}
	l.pos = at
	return nil, refuse(erOptionPrevents, "HY000", "this SELECT is not taken (hint: %s)", noReading)
}

// showing reads what is behind SHOW.
func (s *session) showing(l *lexer) (*result, error) {
	_ = l.keyword("session") || l.keyword("global") || l.keyword("local")
	switch {
	case l.keyword("variables"), l.keyword("status"):
		pattern := "%"
		if l.keyword("like") {
			var scratch []byte
			if c := l.at(0); c != '\'' && c != '"' {
				return nil, l.syntax()
			}
			text, err := l.quoted(&scratch)
			if err != nil {
				return nil, err
			}
			pattern = string(text)
		}
		if err := l.end(); err != nil {
			return nil, notHere("this SHOW")
		}
		r := &result{columns: []column{{"Variable_name", typeString}, {"Value", typeString}}}
		for _, name := range s.variableNames() {
			if like(pattern, name) {
				v, _ := s.variableOf(name)
				r.rows = append(r.rows, []any{name, v})
			}
		}
		return r, nil
	case l.keyword("warnings"), l.keyword("errors"):
		return &result{columns: []column{{"Level", typeString}, {"Code", typeLong}, {"Message", typeString}}}, nil
	case l.keyword("databases"), l.keyword("schemas"):
		r := &result{columns: []column{{"Database", typeString}}}
		if s.database != "" {
			r.rows = [][]any{{s.database}}
		}
		return r, nil
	}
	return nil, notHere("this SHOW")
}

// like matches a pattern of SHOW ... LIKE, without its escapes.
func like(pattern, name string) bool {
	glob := strings.NewReplacer(`\_`, "_", `\%`, "%", "_", "?", "%", "*", "*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(strings.ToLower(pattern))
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// variableNames returns all system variables, sorted.
func (s *session) variableNames() []string {
	names := make([]string, 0, len(variables)+2)
	for n := range variables {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
