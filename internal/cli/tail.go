package cli

import (
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
	cmd := &cobra.Command{
		Use:   "tail [--data DIR] [--stream S] [--table T] [-n N] [-f] [--json]",
		Short: "print the last rows, and follow with -f",
		Long: `tail prints the last rows of a stream, as cat does. With -f it goes on with each
new row as soon as it is stored, until it is interrupted.`,
		Example: "  holdfast tail -f --table calls\n  holdfast tail -n 100 --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if last < 0 || last > maxTail {
				return usage("from 0 to 10000", "-n %d is out of range", last)
			}
			return s.with(env, func(db Database) error { return tail(env, db, q, newPrinter(env, asJSON, q.Follow), last) })
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Stream, "stream", "main", "`stream` to read")
	f.StringVar(&q.Table, "table", "", "only rows of this `table`")
	f.IntVarP(&last, "lines", "n", 10, "`number` of rows to begin with")
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with new rows")
	f.BoolVar(&asJSON, "json", false, "one JSON object per row")
	return cmd
}

// tail prints the last rows and follows where q says so.
func tail(env *Env, db Database, q httpapi.RowsQuery, p *printer, last int) error {
	end, err := endOf(env, db, q.Stream)
	if err != nil {
		return err
	}
	follow := q.Follow
	q.Follow = false
	// In a whole stream the last rows are known by their seqs; those of one
	// table have to be looked for.
	if last > 0 && q.Table != "" {
		if err := lastOf(env, db, q, p, last, end); err != nil {
			return p.end(err)
		}
	} else if last > 0 && end > 0 {
		q.From = end - min(end, uint64(last)) + 1
		if q.Limit = int(end - q.From + 1); q.Limit > 0 {
			if err := db.Rows(env.Context, q, p.row, p.damage); err != nil {
				return p.end(err)
			}
		}
	}
	if !follow {
		return p.end(nil)
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	q.From, q.Limit, q.Follow = end+1, 0, true
	return p.end(db.Rows(env.Context, q, p.row, p.damage))
}

func endOf(env *Env, db Database, stream string) (uint64, error) {
	st, err := db.Status(env.Context)
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

// lastOf prints the last rows of one table up to seq end.
func lastOf(env *Env, db Database, q httpapi.RowsQuery, p *printer, last int, end uint64) error {
	ring := make([]*httpapi.RowLine, 0, last)
	n := 0
	err := db.Rows(env.Context, q, func(r *httpapi.RowLine) error {
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
	}, p.damage)
	if err != nil {
		return err
	}
	for i := range ring {
		if err := p.row(ring[(n-len(ring)+i)%last]); err != nil {
			return err
		}
	}
	return nil
}
