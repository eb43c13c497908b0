package daemon

import (
	"fmt"
	"strings"
	"time"

	"holdfast"
	"holdfast/internal/httpapi"
	"holdfast/internal/roll"
)

// rolling tells how a stream rolls; nil where it does not.
func rolling(r *holdfast.Rolling) *httpapi.Rolling {
	if r == nil {
		return nil
	}
	one := &httpapi.Rolling{
		PinnedBy: r.PinnedBy, Pinned: r.Pinned, Who: r.Who, Watermark: r.Watermark, Link: r.Link, Tiers: []httpapi.TierRoom{}, TrashBytes: r.Trash,
		IgnoredSizes: r.Ignored, Stuck: r.Stuck, StuckSince: r.StuckSince.UTC(),
		RemovedSegments: r.Removed, RemovedBytes: r.RemovedBytes,
	}
	if r.Watermark != nil && r.Link == "time" {
		one.WatermarkTime = time.UnixMicro(*r.Watermark).UTC()
	}
	for _, d := range r.Silent {
		one.Silent = append(one.Silent, httpapi.Silent{Directory: d.Dir, Since: d.Since.UTC()})
	}
	for _, t := range r.Tiers {
		one.Tiers = append(one.Tiers, httpapi.TierRoom{Tier: t.Tier, Bytes: t.Bytes, LimitBytes: t.Limit})
	}
	if c := r.Cold; c != nil {
		one.Cold = &httpapi.ColdTier{Where: c.Where, OnFull: c.OnFull, Segments: c.Segments, Bytes: c.Bytes, Dropped: c.Dropped, Held: c.Held, Failing: c.Failing, Since: c.Since}
	}
	if !r.At.IsZero() {
		one.LastRoll = &httpapi.LastRoll{At: r.At.UTC(), Rule: r.Rule, By: r.By, Serial: r.Serial, Segments: r.Segments, Bytes: r.Bytes}
	}
	if !r.Tried.IsZero() {
		one.LastTry = &httpapi.LastTry{At: r.Tried.UTC(), Rule: r.Asked, InTheWay: append([]string{}, r.InTheWay...)}
	}
	return one
}

// rollColumns are those of SHOW ROLLS.
const rollColumns = "stream text, tier text, bytes int8, limit_bytes int8, pinned_by text, link text, watermark int8, oldest timestamptz, " +
	"last_roll timestamptz, rule text, by text, roll int8, segments int8, in_the_way text, trash_bytes int8, failing text, failing_since timestamptz"

// failing returns why nothing gets out of a tier, or into the cold one, and since
// when.
func failing(r *httpapi.Rolling, tier string) (why string, since time.Time) {
	switch {
	case tier == string(roll.Hot):
		return r.Stuck, r.StuckSince
	case tier == string(roll.Warm) && len(r.Silent) > 0:
		return fmt.Sprintf("the directory %q does not answer", r.Silent[0].Directory), r.Silent[0].Since
	case tier == string(roll.Cold) && r.Cold != nil:
		return r.Cold.Failing, r.Cold.Since
	}
	return "", time.Time{}
}

// rollRows has one row for each tier of each stream that rolls, and of its index.
func rollRows(st httpapi.Status) (rows [][]any) {
	for _, s := range st.Streams {
		r := s.Rolling
		if r == nil {
			continue
		}
		var mark any
		if r.Watermark != nil {
			mark = *r.Watermark
		}
		last, ways := httpapi.LastRoll{}, ""
		if r.LastRoll != nil {
			last = *r.LastRoll
		}
		if r.LastTry != nil {
			ways = strings.Join(r.LastTry.InTheWay, "; ")
		}
		for _, t := range r.Tiers {
			why, since := failing(r, t.Tier)
			rows = append(rows, []any{s.Name, t.Tier, t.Bytes, t.LimitBytes, text(r.PinnedBy), text(r.Link), mark, s.ReplaySince,
				last.At, text(last.Rule), text(last.By), int64(last.Serial), int64(last.Segments), text(ways), r.TrashBytes, text(why), since})
		}
		rows = append(rows, indexRows(s.Name, s.Index)...)
	}
	return rows
}

// indexRows has one row for each tier of a stream's index, of which nothing is
// pinned: what is told of rows is told of the stream.
func indexRows(stream string, x *httpapi.IndexStatus) (rows [][]any) {
	if x == nil {
		return nil
	}
	one := func(tier string, bytes, limit int64, failing string) {
		rows = append(rows, []any{stream, tier, bytes, limit, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, text(failing), nil})
	}
	one("index", x.Bytes, x.LimitBytes, x.Trouble)
	if x.Warm != nil {
		one("warm index", x.Warm.Bytes, x.Warm.LimitBytes, "")
	}
	return rows
}
