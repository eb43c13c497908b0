package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/journal"
)

func newThaw(env *Env) *cobra.Command {
	var to string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "thaw FILE... --to DIR [--json]",
		Short: "bring segments back from a cold tier, to be read with cat",
		Long: `thaw unpacks files of a cold tier, or of the warm one, into a data directory of
their own, as segments again. Each is named by itself or by its manifest. Every
digest is checked before and after. Then holdfast cat --data DIR --stream S reads
the rows. Give the files of one stream together: rows between files that were not
brought back are told as missing.

DIR must not be the data directory that they came from, where rows with higher
numbers have taken their place.`,
		Example: "  holdfast thaw /mnt/cold/main.*.seg.zst --to /tmp/thawed && holdfast cat --data /tmp/thawed",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || to == "" {
				return usage("holdfast thaw FILE... --to DIR", "thaw takes files of a cold tier, and a directory to bring them to")
			}
			return thaw(env, args, to, asJSON)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`directory` that they are brought to, made where it is missing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per segment")
	return cmd
}

func thaw(env *Env, files []string, to string, asJSON bool) (err error) {
	d, err := disk.OpenReal(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	lock, err := d.Lock("LOCK")
	if err != nil {
		return fmt.Errorf("lock %q: %w", to, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for _, file := range files {
		if err := thawOne(env, file, d, asJSON); err != nil {
			return fmt.Errorf("thaw %q: %w", file, err)
		}
	}
	return nil
}

func thawOne(env *Env, file string, to disk.FS, asJSON bool) (err error) {
	dir, err := disk.OpenExisting(filepath.Dir(file))
	if err != nil {
		return err
	}
	from := cold.OpenDirectory(dir, filepath.Dir(file), 0)
	defer func() { err = errors.Join(err, from.Close()) }()
	t, err := journal.Thaw(from, filepath.Base(file), to)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(t)
	}
	_, err = fmt.Fprintf(env.Stdout, "stream %s segment %d: rows %d to %d, sha256 %s, in %s\n", t.Stream, t.Number, t.First, t.Last, first(t.SHA256, "unknown"), t.File)
	return err
}
