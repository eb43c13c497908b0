package holdfast

import (
	"context"
	"errors"
	"path"
	"regexp"

	"holdfast/internal/deliver"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// streamName is what a stream may be called: its name is a directory's.
var streamName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

// judge refuses options that contradict themselves.
func (o *Options) judge() error {
	bad := func(hint, message string, args ...any) error {
		return fault.New(fault.InvalidParameterValue, message, args...).WithHint("%s", hint)
	}
	if err := judgeDedupe(o.Dedupe); err != nil {
		return err
	}
	streams := map[string]bool{}
	for _, s := range o.Streams {
		if !streamName.MatchString(s.Name) {
			return bad("use letters, digits, _, - and .", "stream %q has no name that can be used", s.Name)
		}
		if streams[s.Name] {
			return bad("give each a name of its own", "stream %q is there twice", s.Name)
		}
		streams[s.Name] = true
		if own(s.Name) && len(s.Tables) > 0 {
			return bad("give its tables to another one", "stream %q takes no tables", s.Name)
		}
		for _, g := range s.Tables {
			if _, err := path.Match(g, ""); err != nil {
				return bad("use * and ?", "pattern %q of stream %q cannot be read", g, s.Name)
			}
		}
	}
	if err := o.judgeLinks(); err != nil {
		return err
	}
	sinks := map[string]bool{}
	for _, k := range o.Sinks {
		if k.Name == "" || k.Sink == nil || sinks[k.Name] {
			return bad("give each sink a name of its own and something to write to", "sink %q cannot be used", k.Name)
		}
		sinks[k.Name] = true
		for _, s := range k.Streams {
			if !streams[s] || own(s) {
				return bad("configure the stream, or leave it out", "stream %q of sink %q is not there", s, k.Name)
			}
		}
	}
	return nil
}

// route returns the stream of a table: the one that names it, else the one
// with the longest pattern that fits (the first by name, of equally long
// ones), else main.
func (db *DB) route(table string) *stream {
	best, length := db.byName[MainStream], -1
	for _, s := range db.streams {
		for _, g := range s.Tables {
			if g == table {
				return s
			}
			if ok, _ := path.Match(g, table); ok && len(g) > length {
				best, length = s, len(g)
			}
		}
	}
	return best
}

// find returns a stream by name; "" is main.
func (db *DB) find(name string) (*stream, error) {
	if name == "" {
		name = MainStream
	}
	if s := db.byName[name]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.UndefinedObject, "stream %q does not exist", name).WithHint("holdfast status lists the streams")
}

// source shows a journal to deliver, in deliver's words.
type source struct{ *journal.Journal }

var (
	_ deliver.Stream  = source{}
	_ deliver.Backlog = source{}
)

// Check implements deliver.Stream.
func (s source) Check(pos row.Position) error { return inDeliversWords(s.Journal.Check(pos)) }

// Reader implements deliver.Stream.
func (s source) Reader(from uint64) (deliver.Reader, error) {
	r, err := s.Journal.Reader(from)
	if err != nil {
		return nil, inDeliversWords(err)
	}
	return sourceReader{r}, nil
}

type sourceReader struct{ *journal.Reader }

// Next implements deliver.Reader.
func (r sourceReader) Next(ctx context.Context) (*row.Block, error) {
	b, err := r.Reader.Next(ctx)
	return b, inDeliversWords(err)
}

// TryNext implements deliver.Reader.
func (r sourceReader) TryNext() (*row.Block, error) {
	b, err := r.Reader.TryNext()
	return b, inDeliversWords(err)
}

// inDeliversWords makes an error of the journal recognisable to deliver.
func inDeliversWords(err error) error {
	switch {
	case errors.Is(err, journal.ErrOtherJournal):
		return &translated{err, deliver.ErrOtherJournal}
	case errors.Is(err, journal.ErrGone):
		return &translated{err, deliver.ErrGone}
	}
	return err
}

// translated reads like its cause, and is also another error.
type translated struct {
	error
	also error
}

func (t *translated) Unwrap() []error { return []error{t.error, t.also} }
