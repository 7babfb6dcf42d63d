package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log"
	"strconv"
	"time"
)

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

// Shop reads through the cache.
type Shop struct {
	cache    *Cache
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
	answer, err := s.cache.Get(ctx, "product-rows", strconv.Itoa(id))
	if err == nil && answer.Hit {
		return Read{Source: "cache", Micros: micros(start), Product: answer.Value}, nil
	}
	// Rows come from the change stream alone: this read stores nothing.
	value, err := s.selectJSON(ctx, query, id)
	return Read{Source: "database", Micros: micros(start), Product: value}, err
}

// Page reads a category with its products: computed from two tables, so any change of either makes it anew.
func (s *Shop) Page(ctx context.Context, category int) (Read, error) {
	return s.through(ctx, "pages", category)
}

// Get, on a miss load, and Put with the lease. Whatever happens to the cache, the caller gets a value.
func (s *Shop) through(ctx context.Context, cache string, id int) (Read, error) {
	key, start := strconv.Itoa(id), time.Now()
	answer, err := s.cache.Get(ctx, cache, key)
	if err != nil {
		log.Printf("%s/%s: without the cache: %v", cache, key, err)
	}
	if answer.Hit {
		return Read{Source: "cache", Micros: micros(start), Product: answer.Value}, nil
	}
	// The snapshot of this read begins after the lease was given: that is what makes storing it safe.
	value, err := s.load(ctx, cache, id)
	if err != nil {
		return Read{}, err
	}
	read := Read{Source: "database", Product: value}
	if answer.Lease != "" {
		read.stored, err = s.cache.Put(ctx, cache, key, answer.Lease, value)
		if err != nil {
			log.Printf("%s/%s: not stored: %v", cache, key, err)
		}
	}
	read.Micros = micros(start)
	return read, nil
}

// What a cache would be filled with, nil where there is no row.
func (s *Shop) load(ctx context.Context, cache string, id int) ([]byte, error) {
	return s.selectJSON(ctx, queries[cache], id)
}

// One JSON value, nil where there is no row.
func (s *Shop) selectJSON(ctx context.Context, query string, id int) ([]byte, error) {
	var value []byte
	err := s.database.QueryRowContext(ctx, query, id).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, err
}

func micros(since time.Time) int64 { return time.Since(since).Microseconds() }
