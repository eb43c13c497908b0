package profile

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The limits of what is read of a site's configuration.
const (
	maxBytes  = 4 << 20 // of all files together
	maxFiles  = 10      // one inside the other
	maxExpand = 10      // definitions that stand for each other
)

// reader reads kamailio.cfg as far as modparam("acc", ...) needs it: comments,
// strings, conditions, definitions and includes.
type reader struct {
	open    func(name string) (io.ReadCloser, error)
	left    int64
	defines map[string]string
	params  []param
}

func newReader(k Kamailio) *reader {
	r := &reader{open: k.Open, left: maxBytes, defines: maps.Clone(k.Defines)}
	if r.defines == nil {
		r.defines = map[string]string{}
	}
	return r
}

// condition is one #!ifdef that is open.
type condition struct {
	active, otherwise bool // what stands there counts; #!else was seen
	line              int
}

// scanner is one file that is being read.
type scanner struct {
	*reader
	name  string
	depth int
	line  int
	open  []condition
	block int // braces that are open
	words []word
	inC   bool // inside /* */
	text  *strings.Builder
	quote byte // of the string that is open; 0: none
}

// word is a token of a statement.
type word struct {
	text   string
	kind   byte // 's' string, 'w' word or number, else the character itself
	line   int
	source string
}

func (r *reader) file(name string, f io.Reader, depth int) error {
	text, err := io.ReadAll(io.LimitReader(f, r.left+1))
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if r.left -= int64(len(text)); r.left < 0 {
		return fmt.Errorf("%q and what it includes are larger than %d bytes", name, maxBytes)
	}
	s := &scanner{reader: r, name: name, depth: depth}
	for line := range strings.Lines(string(text)) {
		s.line++
		if err := s.read(line); err != nil {
			return err
		}
	}
	switch {
	case s.quote != 0:
		return s.wrong("", "a string is not closed")
	case s.inC:
		return s.wrong("", "a comment is not closed")
	case len(s.open) > 0:
		s.line = s.open[len(s.open)-1].line
		return s.wrong("", "a condition is not closed with #!endif")
	}
	return s.statement()
}

func (s *scanner) place() string { return fmt.Sprintf("%s:%d", s.name, s.line) }

func (s *scanner) wrong(text, format string, args ...any) error {
	if text = strings.TrimSpace(text); text != "" {
		text = fmt.Sprintf(": %.200q", text)
	}
	return fmt.Errorf("%s: %s%s", s.place(), fmt.Sprintf(format, args...), text)
}

func (s *scanner) active() bool {
	return !slices.ContainsFunc(s.open, func(c condition) bool { return !c.active })
}

var (
	indented  = regexp.MustCompile(`^\s+#!(ifdef|ifndef|ifexp|else|endif|def|define|redef|trydef|subst|substdef)\b`)
	directive = regexp.MustCompile(`^(?:#!|!!)\s*([A-Za-z]+)\s*(.*?)\s*$`)
	defined   = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?:\s+(.*))?$`)
)

// read reads one line.
func (s *scanner) read(line string) error {
	if s.quote == 0 && !s.inC {
		if m := directive.FindStringSubmatch(line); m != nil {
			return s.directive(line, m[1], m[2])
		}
		if indented.MatchString(line) {
			return s.wrong(line, "Kamailio takes a condition or a definition with blanks in front for a comment")
		}
	}
	if !s.active() {
		return nil
	}
	return s.lex(line)
}

// directive obeys a line that begins with #! or !!.
func (s *scanner) directive(line, what, rest string) error {
	what = strings.ToLower(what)
	switch what {
	case "ifdef", "ifndef":
		_, is := s.defines[rest]
		s.open = append(s.open, condition{active: is == (what == "ifdef"), line: s.line})
		return nil
	case "else", "endif":
		if len(s.open) == 0 {
			return s.wrong(line, "there is no condition that it belongs to")
		}
		last := &s.open[len(s.open)-1]
		if what == "endif" {
			s.open = s.open[:len(s.open)-1]
			return nil
		}
		if last.otherwise {
			return s.wrong(line, "a second #!else")
		}
		last.active, last.otherwise = !last.active, true
		return nil
	case "ifexp":
		return s.wrong(line, "conditions that are computed are not understood")
	}
	if !s.active() {
		return nil
	}
	switch what {
	case "define", "def", "redefine", "redef", "trydefine", "trydef":
		m := defined.FindStringSubmatch(rest)
		if m == nil || strings.HasSuffix(rest, `\`) {
			return s.wrong(line, "this definition is not understood")
		}
		if _, is := s.defines[m[1]]; !is || strings.HasPrefix(what, "redef") {
			s.defines[m[1]] = m[2]
		}
	case "subst", "substdef", "substdefs":
		return s.wrong(line, "substitutions change text anywhere, and are not understood; write the value where it is used")
	case "kamailio", "openser", "ser", "maxcompat", "all":
	default:
		return s.wrong(line, "this line is not understood")
	}
	return nil
}

// lex cuts a line into words, and looks at statements as they end.
func (s *scanner) lex(line string) error {
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case s.quote != 0:
			i = s.inString(line, i)
		case s.inC:
			if strings.HasPrefix(line[i:], "*/") {
				s.inC = false
				i++
			}
		case c == '#', strings.HasPrefix(line[i:], "//"):
			return nil
		case strings.HasPrefix(line[i:], "/*"):
			s.inC = true
			i++
		case c == '"' || c == '\'':
			s.quote, s.text = c, new(strings.Builder)
		case c == '{' || c == '}':
			if err := s.statement(); err != nil {
				return err
			}
			if s.block += map[byte]int{'{': 1, '}': -1}[c]; s.block < 0 {
				return s.wrong(line, "a brace is closed that was never opened")
			}
		case isWord(c):
			from := i
			for i+1 < len(line) && isWord(line[i+1]) {
				i++
			}
			if err := s.add(word{line[from : i+1], 'w', s.line, line}); err != nil {
				return err
			}
		case c > ' ':
			if err := s.add(word{string(c), c, s.line, line}); err != nil {
				return err
			}
		}
	}
	return nil
}

// inString reads a string on, and returns where it got to.
func (s *scanner) inString(line string, i int) int {
	c := line[i]
	switch {
	case c == s.quote:
		s.words = append(s.words, word{s.text.String(), 's', s.line, line})
		s.quote = 0
	case c == '\\' && s.quote == '"' && i+1 < len(line):
		i++
		if plain, ok := map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '"': '"', '\\': '\\'}[line[i]]; ok {
			s.text.WriteByte(plain)
		} else {
			s.text.WriteString(line[i-1 : i+1])
		}
	default:
		s.text.WriteByte(c)
	}
	return i
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// add adds a word; one that begins a statement of interest ends the one before.
func (s *scanner) add(w word) error {
	begins := w.kind == 'w' && slices.Contains([]string{"modparam", "modparamx", "loadmodule", "include_file", "import_file"}, w.text)
	if begins || w.kind == ';' {
		if err := s.statement(); err != nil {
			return err
		}
	}
	s.words = append(s.words, w)
	return nil
}

// statement looks at the words gathered.
func (s *scanner) statement() error {
	words := s.words
	s.words = nil
	if len(words) == 0 || s.block > 0 {
		return nil
	}
	line := s.line
	defer func() { s.line = line }()
	s.line = words[0].line
	switch words[0].text {
	case "include_file", "import_file":
		if len(words) < 2 || words[1].kind != 's' {
			return s.wrong(words[0].source, "this include is not understood")
		}
		return s.include(words[1].text, words[0].text == "import_file", words[0].source)
	case "modparam", "modparamx":
		return s.modparam(words)
	}
	return nil
}

func (s *scanner) include(name string, optional bool, source string) error {
	if s.depth == maxFiles {
		return s.wrong(source, "more than %d files include each other", maxFiles)
	}
	if s.reader.open == nil {
		return s.wrong(source, "files that are included cannot be read here")
	}
	f, err := s.reader.open(name)
	if err != nil {
		if optional {
			return nil
		}
		return s.wrong(source, "%v", err)
	}
	defer f.Close()
	return s.file(name, f, s.depth+1)
}

// modparam keeps modparam("acc", "name", value).
func (s *scanner) modparam(words []word) error {
	source := words[0].source
	var args []string
	closed := false
	for i := 2; i < len(words); i += 2 {
		if len(args) == 3 || words[i].kind != 's' && words[i].kind != 'w' && words[i].kind != '-' {
			break
		}
		w := words[i]
		if w.kind == '-' && i+1 < len(words) {
			i++
			w = word{"-" + words[i].text, 's', 0, ""}
		}
		text, err := s.value(w, 0)
		if err != nil {
			return err
		}
		args = append(args, text)
		if !slices.Contains(strings.Split(args[0], "|"), "acc") {
			return nil // another module's, whose values do not matter
		}
		if i+1 >= len(words) || words[i+1].kind != ',' {
			closed = i+1 < len(words) && words[i+1].kind == ')'
			break
		}
	}
	if len(args) == 0 {
		return s.wrong(source, "this parameter is not understood")
	}
	if len(args) != 3 || !closed || words[0].text == "modparamx" || words[1].kind != '(' {
		return s.wrong(source, "this parameter of acc is not understood")
	}
	s.params = append(s.params, param{args[1], args[2], s.place()})
	return nil
}

var number = regexp.MustCompile(`^[0-9]+$`)

// value is what a word stands for.
func (s *scanner) value(w word, depth int) (string, error) {
	if w.kind == 's' || number.MatchString(w.text) {
		return w.text, nil
	}
	text, is := s.defines[w.text]
	if !is || depth == maxExpand {
		return "", s.wrong(w.source, "%q is not defined", w.text)
	}
	text = strings.TrimSpace(text)
	if n := len(text); n > 1 && (text[0] == '"' || text[0] == '\'') && strings.IndexByte(text[1:], text[0]) == n-2 {
		return text[1 : n-1], nil
	}
	return s.value(word{text: text, kind: 'w', source: w.source}, depth+1)
}
