package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	freshet "github.com/freshet-dev/freshet/clients/go"
)

// The media type of JSON values.
const jsonType = "application/json"

// Read is one read and where it came from.
type Read struct {
	// "cache" or "database".
	Source string `json:"source"`
	// How long it took.
	Micros int64 `json:"micros"`
	// The row or page as JSON, null where there is none.
	Product json.RawMessage `json:"product"`
	// Whether the cache took what was read from the database.
	stored bool
}

// Shop reads through the cache. Each replica has a sidecar of its own and knows of no other: all of them follow the same
// changes.
type Shop struct {
	cache    *freshet.Client
	database *sql.DB
}

// What fills each cache, by a key. The same rows make the same bytes each time: an audit compares them.
var queries = map[string]string{
	"products": `SELECT json_build_object('id', id, 'name', name, 'price', price::text, 'note', note)
		FROM inventory.product WHERE id = $1`,
	"pages": `SELECT json_build_object('category', c.name, 'products',
			(SELECT coalesce(json_agg(p.name ORDER BY p.id), '[]') FROM inventory.product p WHERE p.category_id = c.id))
		FROM inventory.category c WHERE c.id = $1`,
}

// Product reads a product by its id: cached by the shop, invalidated by changes of its row.
func (s *Shop) Product(ctx context.Context, id int) (Read, error) {
	return s.through(ctx, "products", id)
}

// Row reads a product's row from the hydrated cache, which holds changed rows before anyone asks for them.
func (s *Shop) Row(ctx context.Context, id int) (Read, error) {
	const query = `SELECT row_to_json(product) FROM inventory.product WHERE id = $1`
	start := time.Now()
	answer := s.cache.Get(ctx, "product-rows", freshet.Columns(id))
	if answer.Found {
		return read(answer, answer.Bytes, start), nil
	}
	// Rows come from the change stream alone: this read stores nothing.
	value, err := s.selectJSON(ctx, query, id)
	if err != nil && !errors.Is(err, freshet.ErrAbsent) {
		return Read{}, err
	}
	return read(answer, value, start), nil
}

// Page reads a category with its products: computed from two tables, so any change of either makes it anew.
func (s *Shop) Page(ctx context.Context, category int) (Read, error) {
	return s.through(ctx, "pages", category)
}

// What is cached, or else what the database has, which is cached then. Whatever happens to the cache, the caller gets a
// value.
func (s *Shop) through(ctx context.Context, cache string, id int) (Read, error) {
	start := time.Now()
	load := func(ctx context.Context, _ *freshet.Fill) ([]byte, error) { return s.load(ctx, cache, id) }
	// The database's own JSON, byte by byte.
	codec := freshet.WithCodec(freshet.Bytes(jsonType))
	value, answer, err := freshet.GetOrLoad(ctx, s.cache, cache, freshet.Columns(id), load, codec)
	if err != nil && !errors.Is(err, freshet.ErrAbsent) {
		return Read{}, err
	}
	return read(answer, value, start), nil
}

// What a cache would be filled with, or ErrAbsent.
func (s *Shop) load(ctx context.Context, cache string, id int) ([]byte, error) {
	return s.selectJSON(ctx, queries[cache], id)
}

// One JSON value, or ErrAbsent where there is no row.
func (s *Shop) selectJSON(ctx context.Context, query string, id int) ([]byte, error) {
	var value []byte
	err := s.database.QueryRowContext(ctx, query, id).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, freshet.ErrAbsent
	}
	return value, err
}

func read(answer freshet.Answer, value []byte, start time.Time) Read {
	source := "database"
	if answer.Found {
		source = "cache"
	}
	micros := time.Since(start).Microseconds()
	return Read{Source: source, Micros: micros, Product: value, stored: answer.Stored == "stored"}
}
