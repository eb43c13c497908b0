package holdfast

import (
	"fmt"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/manifests"
)

// Manifest describes one segment, as the file beside it does.
type Manifest = manifests.Manifest

// ManifestQuery asks for segments.
type ManifestQuery = manifests.Query

// ManifestSpan is a span in a ManifestQuery, both ends included.
type ManifestSpan = manifests.Span

// FoundManifest is a segment that FindManifests found, and where it is.
type FoundManifest = manifests.Found

// openManifests opens where the manifests of segments that are gone are kept.
func (db *DB) openManifests() (err error) {
	if db.o.ManifestDir == "" {
		return nil
	}
	made, err := disk.OpenReal(db.o.ManifestDir)
	if err == nil {
		err = made.Close()
	}
	if err == nil {
		db.kept, err = disk.OpenBuffered(db.o.ManifestDir)
	}
	if err != nil {
		return fmt.Errorf("open the directory of manifests %q: %w", db.o.ManifestDir, err)
	}
	return nil
}

// keepManifests makes a stream's segments have manifests, and keeps those of
// segments that are gone.
func (db *DB) keepManifests(s *stream, o *journal.Options) (err error) {
	if !rolls(s.Name) || db.o.Reading {
		return nil
	}
	o.Manifests = true
	if db.kept == nil {
		return nil
	}
	if s.catalogue, err = manifests.OpenCatalogue(db.kept, s.Name); err != nil {
		return err
	}
	o.Gone = func(all []manifests.Manifest) error {
		for i := range all {
			db.explain(all[i].Gone)
		}
		return s.catalogue.Add(all)
	}
	return nil
}

// explain says by which rule a segment went.
func (db *DB) explain(g *manifests.Gone) {
	if g.Roll == 0 {
		g.Rule, g.By = limitsRule, limitsBy
	} else if e, known := db.ledger.roll(g.Roll); known {
		g.Rule, g.By = e.Rule, e.By
	}
}

// FindManifests calls emit for each segment that q means, of each stream the
// oldest first: those that are gone, where their manifests are kept, and those
// that are there. Damaged is how many of the manifests kept cannot be read.
func (db *DB) FindManifests(q ManifestQuery, emit func(FoundManifest) error) (damaged int, err error) {
	if q.Stream != "" {
		if _, err := db.find(q.Stream); err != nil {
			return 0, err
		}
	}
	for _, s := range db.streams {
		if !rolls(s.Name) || q.Stream != "" && q.Stream != s.Name {
			continue
		}
		err := s.journal.Search(q, func(comes func(uint64) bool) error {
			if s.catalogue == nil {
				return nil
			}
			bad, err := s.catalogue.Each(func(m *Manifest) error {
				if !q.Meets(m) || m.StreamID == s.journal.ID() && comes(m.Number) {
					return nil
				}
				return emit(FoundManifest{Manifest: *m, Where: manifests.Left})
			})
			damaged += bad
			return err
		}, func(f FoundManifest) error {
			if f.Gone != nil {
				db.explain(f.Gone)
			}
			return emit(f)
		})
		if err != nil {
			return damaged, fmt.Errorf("look for segments of stream %q: %w", s.Name, err)
		}
	}
	return damaged, nil
}
