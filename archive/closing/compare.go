package closing

import (
	"context"
	"slices"

	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// compare holds each twin against its table, and the table against the plan.
func compare(ctx context.Context, s *dialect.Session, q dialect.Querier, p *Plan) error {
	suffix := s.Twin("", p.stamp)
	for _, t := range p.tables {
		now, err := s.Table(ctx, q, t.Name)
		if err != nil {
			return err
		}
		want := t.Portrait(suffix)
		if now == nil || !slices.Equal(want, now.Portrait(suffix)) {
			return fault.New(fault.DatatypeMismatch, "table %q was changed while its archive was prepared", t.Name).WithHint("run it again")
		}
		if len(p.Prepare) == 0 { // the swap makes the new tables from the old ones' own definitions
			continue
		}
		twin, err := s.Table(ctx, q, s.Twin(t.Name, p.stamp))
		if err != nil {
			return err
		}
		if twin == nil {
			return fault.New(fault.UndefinedTable, "the twin of table %q is gone", t.Name)
		}
		if !twin.Ahead(now) {
			return fault.New(fault.InternalError, "the numbers of table %q came near those that its twin begins with", t.Name).WithHint("run it again, when fewer rows come")
		}
		for i, line := range twin.Portrait(suffix) {
			if i >= len(want) || line != want[i] {
				return fault.New(fault.InternalError, "the twin of table %q is not like it", t.Name).WithDetail("%s", difference(want, twin.Portrait(suffix))).
					WithHint("nothing was swapped")
			}
		}
	}
	return nil
}

func difference(want, got []string) string {
	for _, line := range want {
		if !slices.Contains(got, line) {
			return "it lacks: " + line
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			return "it has: " + line
		}
	}
	return "something is there more than once"
}
