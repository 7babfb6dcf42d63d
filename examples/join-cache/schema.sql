-- The tables of examples/join-cache, and what is in them at first.
--
-- No ON DELETE or ON UPDATE with CASCADE or SET NULL: what InnoDB does to rows of other tables by itself isn't in MariaDB's
-- binary log, so no cache would hear of it.
CREATE DATABASE inventory;

CREATE TABLE inventory.category (
  id int PRIMARY KEY,
  name varchar(40) NOT NULL
);

CREATE TABLE inventory.product (
  id int PRIMARY KEY,
  name varchar(40) NOT NULL,
  price decimal(10, 2) NOT NULL,
  category_id int NOT NULL REFERENCES inventory.category (id)
);

CREATE TABLE inventory.stock (
  product_id int PRIMARY KEY REFERENCES inventory.product (id),
  pieces int NOT NULL
);

INSERT INTO inventory.category VALUES (1, 'fruit'), (2, 'tools');
INSERT INTO inventory.product VALUES (1, 'apple', 0.40, 1), (2, 'pear', 0.60, 1), (3, 'hammer', 9.50, 2);
INSERT INTO inventory.stock VALUES (1, 100), (2, 50), (3, 7);
