package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/cold"
	"holdfast/internal/config"
	"holdfast/internal/daemon"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/manifests"
)

// thawing is what thaw was asked for.
type thawing struct {
	to     string
	config string
	json   bool
}

func newThaw(env *Env) *cobra.Command {
	var t thawing
	cmd := &cobra.Command{
		Use:   "thaw FILE... --to DIR [--config FILE] [--json]",
		Short: "bring segments back from a cold tier, to be read with cat",
		Long: `thaw unpacks files of a cold tier, or of the warm one, into a data directory of
their own, as segments again. Each is named by itself or by its manifest; in a
bucket as s3://bucket/prefix/name, where * stands for anything in a name, and
--config names the configuration that says how the bucket is reached. Every
digest is checked before and after. Then holdfast cat --data DIR --stream S reads
the rows. Give the files of one stream together: rows between files that were not
brought back are told as missing. What was brought back already stays.

DIR must be new, empty, or one that segments were brought back to before.`,
		Example: "  holdfast thaw /mnt/cold/main.*.seg.zst --to /tmp/thawed && holdfast cat --data /tmp/thawed\n  holdfast thaw 's3://bucket/prefix/main.*.seg.zst' --config holdfast.yaml --to /tmp/thawed",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || t.to == "" {
				return usage("holdfast thaw FILE... --to DIR", "thaw takes files of a cold tier, and a directory to bring them to")
			}
			return t.all(env, args)
		},
	}
	cmd.Flags().StringVar(&t.to, "to", "", "`directory` that they are brought to, made where it is missing")
	cmd.Flags().StringVar(&t.config, "config", "", "configuration `file` that says how a bucket is reached")
	cmd.Flags().BoolVar(&t.json, "json", false, "one JSON object per segment")
	return cmd
}

// all brings back all that is named.
func (t *thawing) all(env *Env, files []string) (err error) {
	d, err := disk.OpenReal(t.to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	lock, err := d.Lock("LOCK")
	if err != nil {
		return fmt.Errorf("lock %q: %w", t.to, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := journal.BeginThaw(d); err != nil {
		return fmt.Errorf("bring segments back to %q: %w", t.to, err)
	}
	for _, file := range files {
		if err := t.one(env, file, d); err != nil {
			err = fmt.Errorf("thaw %q: %w", file, err)
			if fault.Code(err) == fault.DataCorrupted {
				return &exitError{code: exitDamage, err: err, hint: fault.Of(err).Hint}
			}
			return err
		}
	}
	return nil
}

// one brings back what one argument names.
func (t *thawing) one(env *Env, file string, to disk.FS) (err error) {
	from, names, err := t.find(env, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	done := map[string]bool{}
	for _, name := range names {
		name = strings.TrimSuffix(name, manifests.Suffix)
		if done[name] {
			continue
		}
		done[name] = true
		back, err := journal.Thaw(from, name, to)
		if err != nil {
			return err
		}
		if err := t.tell(env, &back); err != nil {
			return err
		}
	}
	return nil
}

func (t *thawing) tell(env *Env, back *journal.Thawed) error {
	if t.json {
		return json.NewEncoder(env.Stdout).Encode(back)
	}
	_, err := fmt.Fprintf(env.Stdout, "stream %s segment %d: rows %d to %d, sha256 %s, in %s\n", back.Stream, back.Number, back.First, back.Last, first(back.SHA256, "unknown"), back.File)
	return err
}

// find returns where a file is, and what it is called there: of a bucket all that
// a pattern fits.
func (t *thawing) find(env *Env, file string) (cold.Store, []string, error) {
	at := strings.LastIndex(file, "/")
	bucket, prefix, is, err := config.ParseBucket(file[:at+1])
	if err != nil {
		return nil, nil, err
	}
	if !is {
		d, err := disk.OpenExisting(filepath.Dir(file))
		if err != nil {
			return nil, nil, err
		}
		return cold.OpenDirectory(d, filepath.Dir(file), 0), []string{filepath.Base(file)}, nil
	}
	c := config.Default()
	if path := first(t.config, env.Getenv("HOLDFAST_CONFIG")); path != "" {
		if c, err = config.Load(path); err != nil {
			return nil, nil, err
		}
	}
	b, err := daemon.OpenBucket(c, bucket, prefix)
	if err != nil {
		return nil, nil, err
	}
	names, err := b.Match(file[at+1:])
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("nothing in %q is called %q", b.Where(), file[at+1:])
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return b, names, nil
}
