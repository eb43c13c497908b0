package daemon

import (
	"context"
	"encoding/json"

	"holdfast"
	"holdfast/internal/httpapi"
)

var _ httpapi.ManifestFinder = admin{}

// FindManifests implements httpapi.ManifestFinder.
func (a admin) FindManifests(ctx context.Context, q httpapi.ManifestQuery, emit func(json.RawMessage) error) (int, error) {
	span := func(e *[2]int64) *holdfast.ManifestSpan {
		if e == nil {
			return nil
		}
		return &holdfast.ManifestSpan{First: e[0], Last: e[1]}
	}
	asked := holdfast.ManifestQuery{Stream: q.Stream, Times: span(q.Times), Links: span(q.Links), Seqs: span(q.Seqs)}
	return a.db.FindManifests(asked, func(f holdfast.FoundManifest) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return emit(text)
	})
}
