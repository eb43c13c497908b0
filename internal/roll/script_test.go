package roll

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
)

var rewrite = flag.Bool("rewrite", false, "write what comes out into the scripts; read the difference before believing it")

// TestScripts runs testdata/*.txt: a state, messages, and behind each message
// what is planned and the state after it. The lines of a script:
//
//	# sentences: those of docs/rollover-manual.md that it shows, as TestManual wants
//	# what the manual says, in our words, with its section
//	volume NAME TOTAL FREE
//	stream NAME [link=COLUMN] [parent=STREAM] hot=VOLUME{,VOLUME} [warm=VOLUME] [cold] [drop_oldest] [keep=FILES]
//	index NAME hot=VOLUME [warm=VOLUME] [cold]
//	file STORE SIZE [LOW-HIGH] [warm] [active] [held] [on=VOLUME] [age=7d] [rows=90m]
//	need STREAM SINK SEQ
//	send NODE MESSAGE PARAMS, schedule LINE, room STORE BUDGET NEED, write STORE SIZE LOW-HIGH
//	> what came of it
//
// A store is a stream or, written STREAM/index, its index. Files are numbered
// from 1, of ten seqs each; LOW-HIGH are their links.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("found the scripts %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { (&script{t: t}).whole(file) })
	}
}

// whole runs a script and compares what comes out.
func (s *script) whole(file string) {
	text, err := os.ReadFile(file)
	s.fail(err)
	var got strings.Builder
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if strings.HasPrefix(line, ">") {
			continue
		}
		fmt.Fprintln(&got, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s.line = n + 1
		for _, out := range s.run(line) {
			fmt.Fprintln(&got, strings.TrimRight("> "+out, " "))
		}
	}
	switch {
	case got.String() == string(text):
	case *rewrite:
		s.fail(os.WriteFile(file, []byte(got.String()), 0o600))
	default:
		s.t.Errorf("%s says otherwise. What comes out:\n%s", file, got.String())
	}
}

type script struct {
	t     *testing.T
	line  int
	st    State
	brief *brief // nil: all that a plan says is written
}

// now is when every script takes place.
var now = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func (s *script) fail(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("line %d: %v", s.line, err)
	}
}

func (s *script) run(line string) []string {
	verb, rest, _ := strings.Cut(line, " ")
	if s.brief != nil {
		if out, done := s.brief.run(s, verb, &rest); done {
			return out
		}
	}
	words := strings.Fields(rest)
	switch verb {
	case "volume":
		s.st.Volumes = append(s.st.Volumes, Volume{Name: words[0], Total: s.size(words[1]), Free: s.size(words[2])})
	case "stream", "index":
		s.declare(words, verb == "index")
	case "file", "write":
		s.file(words)
	case "need":
		seq, err := strconv.ParseUint(words[2], 10, 64)
		s.fail(err)
		w := s.store(words[0])
		w.Needs = append(w.Needs, Need{Sink: words[1], Seq: seq})
	case "send":
		return s.send(ParseMessage(words[0], words[1], strings.Join(words[2:], " ")))
	case "schedule":
		e, err := ParseEntry(rest)
		if err != nil || s.brief != nil {
			return s.send(e.Message, err)
		}
		return append([]string{"every " + e.Every.String() + ": " + e.Message.String()}, s.send(e.Message, nil)...)
	case "room":
		name := s.store(words[0]).Name()
		i := slices.IndexFunc(s.st.Stores, func(x Store) bool { return x.Name() == name })
		used := int64(0)
		for _, f := range s.st.Stores[i].Files {
			used += f.Bytes
		}
		return s.make(Room(&s.st, i, used+s.size(words[2])-s.size(words[1])))
	default:
		s.t.Fatalf("line %d: %q is not a line of a script", s.line, line)
	}
	return nil
}

func (s *script) size(text string) int64 {
	n, err := ParseSize(text)
	s.fail(err)
	return int64(n)
}

func (s *script) store(name string) *Store {
	stream, isIndex := strings.CutSuffix(name, "/index")
	i := slices.IndexFunc(s.st.Stores, func(x Store) bool { return x.Stream == stream && x.IsIndex == isIndex })
	if i < 0 {
		s.t.Fatalf("line %d: there is no store %q", s.line, name)
	}
	return &s.st.Stores[i]
}

func (s *script) declare(words []string, isIndex bool) {
	x := Store{Stream: words[0], IsIndex: isIndex}
	if isIndex {
		x.Link = s.store(words[0]).Link
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "link":
			x.Link = Link(value)
		case "parent":
			x.Parent = value
		case "hot":
			all := strings.Split(value, ",")
			x.HotVolume, x.MoreHot = all[0], all[1:]
		case "warm":
			x.WarmVolume = value
		case "cold":
			x.Cold = true
		case "drop_oldest":
			x.DropOldest = true
		case "keep":
			n, err := strconv.Atoi(value)
			s.fail(err)
			x.Keep.Files = n
		default:
			s.t.Fatalf("line %d: %q is not known", s.line, word)
		}
	}
	s.st.Stores = append(s.st.Stores, x)
}

func (s *script) file(words []string) {
	x := s.store(words[0])
	n := uint64(1)
	if len(x.Files) > 0 {
		n = x.Files[len(x.Files)-1].Number + 1
		x.Files[len(x.Files)-1].Sealed = true
	}
	f := Manifest{Number: n, Bytes: s.size(words[1]), Tier: Hot, Sealed: true, FirstSeq: n*10 - 9, LastSeq: n * 10}
	age, rows := time.Duration(0), time.Duration(-1)
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "warm":
			f.Tier = Warm
		case key == "active":
			f.Sealed = false
		case key == "held":
			f.Held = true
		case key == "age":
			age = s.long(value)
		case key == "rows":
			rows = s.long(value)
		case key == "on":
			f.Volume = value
		default:
			_, err := fmt.Sscanf(word, "%d-%d", &f.FirstLink, &f.LastLink)
			s.fail(err)
			f.Linked = true
		}
	}
	if rows < 0 {
		rows = age
	}
	now := now
	if s.brief != nil {
		now = s.brief.now
	}
	f.FileTime, f.FirstTime, f.LastTime = now.Add(-age).UnixMicro(), now.Add(-rows).UnixMicro(), now.Add(-rows).UnixMicro()
	x.Files = append(x.Files, f)
}

func (s *script) long(text string) time.Duration {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		s.fail(err)
		return time.Duration(n) * 24 * time.Hour
	}
	d, err := time.ParseDuration(text)
	s.fail(err)
	return d
}

func (s *script) send(m Message, err error) []string {
	var r Rule
	if err == nil {
		r, err = m.Rule(&s.st, now)
	}
	if err != nil && s.brief != nil {
		return []string{"refused: " + fault.Of(err).Message}
	}
	if err != nil {
		return []string{err.Error()}
	}
	if s.brief != nil {
		return s.brief.make(s, r)
	}
	return s.make(r)
}

// make plans, takes the plan through its JSON form, and carries it out.
func (s *script) make(r Rule) []string {
	p, err := Make(&s.st, r)
	if err != nil {
		return []string{err.Error()}
	}
	text, err := p.JSON()
	s.fail(err)
	p, err = ReadPlan(text)
	s.fail(err)
	var b strings.Builder
	s.fail(p.WriteText(&b))
	out := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	s.apply(p)
	out = append(out, "after it:")
	for i := range s.st.Stores {
		out = append(out, "  "+s.st.Stores[i].shown())
	}
	return out
}

// apply does to the state what an executor would do to the disk.
func (s *script) apply(p *Plan) {
	of := func(stream string, index bool) *Store {
		if index {
			stream += "/index"
		}
		return s.store(stream)
	}
	free := func(volume string, n int64) {
		for i := range s.st.Volumes {
			if s.st.Volumes[i].Name == volume {
				s.st.Volumes[i].Free += n
			}
		}
	}
	for _, w := range p.Watermarks {
		x := of(w.Stream, w.Index)
		x.Watermark, x.HasMark = w.Below, true
	}
	for _, step := range p.Steps {
		x := of(step.Stream, step.Index)
		n := slices.IndexFunc(x.Files, func(f Manifest) bool { return f.Number == step.Number })
		volume := x.HotVolume
		if on := x.Files[n].Volume; on != "" {
			volume = on
		} else if step.From == Warm {
			volume = x.WarmVolume
		}
		free(volume, step.Bytes)
		if step.To == Warm {
			free(x.WarmVolume, -step.Bytes)
			x.Files[n].Tier, x.Files[n].Volume = Warm, ""
			continue
		}
		x.Files = slices.Delete(x.Files, n, n+1)
	}
}

// shown is a store on one line: its files, and its watermark.
func (s *Store) shown() string {
	var all []string
	for _, f := range s.Files {
		one := fmt.Sprintf("%d %s", f.Number, f.Tier)
		if !f.Sealed {
			one += " active"
		}
		if f.Held {
			one += " held"
		}
		all = append(all, one)
	}
	line := s.Name() + ": " + strings.Join(all, ", ")
	if s.HasMark {
		line += fmt.Sprintf(" (below %d: gone)", s.Watermark)
	}
	return line
}
