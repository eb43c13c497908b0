package cli

import (
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

// maxTail bounds how many rows tail holds while it looks for the last ones of
// one table.
const maxTail = 10000

func newTail(env *Env) *cobra.Command {
	var s settings
	q := httpapi.RowsQuery{}
	var asJSON bool
	var last int
	var filter catFilter
	cmd := &cobra.Command{
		Use:   "tail [--data DIR] [--stream S] [--table T] [-n N] [-f] [--where CONDITION] [--since TIME] [--explain] [--json]",
		Short: "print the last rows, and follow with -f",
		Long: `tail prints the last rows of a stream, as cat does. With -f it goes on with each
new row as soon as it is stored, until it is interrupted.

--where, --since and --explain are those of cat: the last rows that match are
printed, and with -f each new one that does. --explain is about the former.`,
		Example: "  holdfast tail -f --table calls\n  holdfast tail -n 100 --json\n  holdfast tail -f --table acc --where 'seconds > 3600'",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if last < 0 || last > maxTail {
				return usage("from 0 to 10000", "-n %d is out of range", last)
			}
			if err := filter.settle(&q, time.Now()); err != nil {
				return err
			}
			return s.with(env, func(db Database) error {
				return (&tailer{env, db, newPrinter(env, asJSON, q.Follow), filter}).run(q, last)
			})
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Stream, "stream", "main", "`stream` to read")
	f.StringVar(&q.Table, "table", "", "only rows of this `table`")
	f.IntVarP(&last, "lines", "n", 10, "`number` of rows to begin with")
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with new rows")
	f.BoolVar(&asJSON, "json", false, "one JSON object per row")
	filter.flags(cmd, &q)
	return cmd
}

// tailer is one run of tail.
type tailer struct {
	env *Env
	db  Database
	*printer
	filter catFilter
}

// run prints the last rows and follows where q says so.
func (t *tailer) run(q httpapi.RowsQuery, last int) error {
	end, err := t.endOf(q.Stream)
	if err != nil {
		return err
	}
	before := q
	before.Follow = false
	tell := func() {}
	if t.filter.explain || q.Where != "" {
		before.Explain = func(e httpapi.Explained) { tell = func() { t.explained(e, t.filter.explain) } }
	}
	switch {
	case last == 0 || end == 0:
		if q.Where != "" { // there is nothing to look at, and a wrong condition is told all the same
			before.From = end + 1
			err = t.db.Rows(t.env.Context, before, func(*httpapi.RowLine) error { return nil }, t.damage)
		}
	case q.Table != "":
		err = t.lastOfTable(before, last, end)
	default:
		n := min(end, uint64(last))
		before.From, before.Limit = end-n+1, int(n)
		err = t.db.Rows(t.env.Context, before, t.row, t.damage)
	}
	if err == nil {
		tell() // behind the rows
	}
	if err != nil || !q.Follow {
		return t.end(err)
	}
	if err := t.out.Flush(); err != nil {
		return err
	}
	q.From = end + 1
	return t.end(t.db.Rows(t.env.Context, q, t.row, t.damage))
}

func (t *tailer) endOf(stream string) (uint64, error) {
	st, err := t.db.Status(t.env.Context)
	if err != nil {
		return 0, err
	}
	for _, s := range st.Streams {
		if s.Name == stream {
			return s.EndSeq, nil
		}
	}
	return 0, fault.New(fault.UndefinedObject, "stream %q is not known", stream).WithHint("holdfast status lists the streams")
}

// lastOfTable prints the last rows of one table up to seq end. In a whole
// stream the last rows are known by their seqs; those of a table have to be
// looked for.
func (t *tailer) lastOfTable(q httpapi.RowsQuery, last int, end uint64) error {
	ring := make([]*httpapi.RowLine, 0, last)
	n := 0
	err := t.db.Rows(t.env.Context, q, func(r *httpapi.RowLine) error {
		if r.Seq > end {
			return nil // it comes when following
		}
		if len(ring) < last {
			ring = append(ring, r)
		} else {
			ring[n%last] = r
		}
		n++
		return nil
	}, t.damage)
	if err != nil {
		return err
	}
	for i := range ring {
		if err := t.row(ring[(n-len(ring)+i)%last]); err != nil {
			return err
		}
	}
	return nil
}
