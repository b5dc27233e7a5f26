-- What a node needs in its database, and nothing else: the schema `holdfast`, which belongs to the role `holdfast_node`, and
-- the right to make tables. Segments are tables that nodes make, fill and drop, so reading and writing alone do not do.
-- A node reads and writes nothing outside of this schema. Run by an owner of the database, in it; may be repeated.
IF USER_ID(N'holdfast') IS NULL
    CREATE USER holdfast FOR LOGIN holdfast WITH DEFAULT_SCHEMA = holdfast;
GO
IF DATABASE_PRINCIPAL_ID(N'holdfast_node') IS NULL
    CREATE ROLE holdfast_node;
GO
ALTER ROLE holdfast_node ADD MEMBER holdfast;
GO
IF SCHEMA_ID(N'holdfast') IS NULL
    EXEC (N'CREATE SCHEMA holdfast AUTHORIZATION holdfast_node');
GO
GRANT CREATE TABLE TO holdfast_node;
GO
-- Not needed, and of use: with these on the server a takeover ends a session that hangs instead of waiting for it, and the
-- nodes can say whether commits wait for another replica. By an administrator, in master:
--
--     GRANT ALTER ANY CONNECTION TO holdfast;
--     GRANT VIEW SERVER STATE TO holdfast;
--     GRANT VIEW ANY DEFINITION TO holdfast;
